"""What people may do."""

from typing import Final

from dermabatch.schema import User

STAFF: Final = "staff"
ADMINISTRATOR: Final = "administrator"
ROLES: Final = (STAFF, ADMINISTRATOR)


def has_role(user: User, *roles: str) -> bool:
    """Whether the user is active and has at least one of these roles."""
    return user.active and any(role.name in roles for role in user.roles)
