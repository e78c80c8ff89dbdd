"""Who asks, as pages see them.

The core knows `schema.User`. Here a row becomes a `Person`, detached from any transaction: a request may last minutes
(an upload), and a transaction must not.
"""

from dataclasses import dataclass
from uuid import UUID

from dermabatch.accounts import ADMINISTRATOR, STAFF
from dermabatch.schema import User


@dataclass(slots=True)
class Person:
    """A user who has signed in."""

    id: UUID
    email: str
    name: str
    department_id: UUID
    department_name: str
    roles: tuple[str, ...]
    session_id: UUID
    """Of this sign-in, in this browser."""

    def has_role(self, role: str) -> bool:
        """Whether this is among the person's roles."""
        return role in self.roles

    @property
    def is_staff(self) -> bool:
        """May hand in batches and read results."""
        return self.has_role(STAFF)

    @property
    def is_administrator(self) -> bool:
        """May read the audit trail, manage users and activate models."""
        return self.has_role(ADMINISTRATOR)

    @classmethod
    def of(cls, user: User, session_id: UUID) -> "Person":
        """The person behind a row."""
        return cls(
            id=user.id,
            email=user.email,
            name=user.name,
            department_id=user.department_id,
            department_name=user.department.name,
            roles=tuple(sorted(role.name for role in user.roles)),
            session_id=session_id,
        )
