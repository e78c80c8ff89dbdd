"""The five login roles of the database. What each may do, the migrations grant.

`owner` owns the schema and runs the migrations; as `web`, `worker`, `chainer` and `trainer` the running programs sign
in. None is a superuser, and none passes row-level security by right.
"""

from collections.abc import Mapping

OWNER = "dermabatch_owner"
WEB = "dermabatch_web"
WORKER = "dermabatch_worker"
CHAINER = "dermabatch_chainer"
TRAINER = "dermabatch_trainer"
LOGIN_ROLES = (OWNER, WEB, WORKER, CHAINER, TRAINER)


def role_statements(passwords: Mapping[str, str]) -> list[str]:
    """SQL that a superuser runs before the first migration; running it again only sets the passwords.

    Args:
        passwords: password of each of LOGIN_ROLES, by name.
    """
    return [statement for role in LOGIN_ROLES for statement in _login_role(role, passwords[role])]


def _login_role(role: str, password: str) -> tuple[str, str]:
    exists = f"SELECT FROM pg_roles WHERE rolname = '{role}'"
    quoted = password.replace("'", "''")
    return (
        f"DO $$ BEGIN IF NOT EXISTS ({exists}) THEN CREATE ROLE {role}; END IF; END $$",
        f"ALTER ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD '{quoted}'",
    )
