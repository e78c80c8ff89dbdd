"""Who signs in, as Flask-Security sees them.

The core knows `schema.User` and no web framework. Here a row becomes a `Person`, detached from any session: a request
may last minutes (an upload), and a transaction must not.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import sqlalchemy as sa
from flask_security import RoleMixin, UserMixin
from flask_security.datastore import UserDatastore

from dermabatch.accounts import ADMINISTRATOR, STAFF
from dermabatch.database import Sessions
from dermabatch.schema import User


@dataclass(slots=True, eq=False)
class PersonRole(RoleMixin):
    """One of `dermabatch.accounts.ROLES`."""

    name: str


@dataclass(slots=True, eq=False)
class Person(UserMixin):
    """A user who may sign in."""

    # Flask-Security takes identifiers for numbers and lists for its own; neither matters at run time.
    id: UUID  # type: ignore[assignment]
    email: str
    name: str
    department_id: UUID
    department_name: str
    password: str | None
    active: bool
    fs_uniquifier: str
    """Stands in the session cookie; a new one ends every session of the person."""
    roles: list[PersonRole]  # type: ignore[assignment]

    @property
    def is_staff(self) -> bool:
        """May hand in batches and read results."""
        return self.has_role(STAFF)

    @property
    def is_administrator(self) -> bool:
        """May read the audit trail, manage users and activate models."""
        return self.has_role(ADMINISTRATOR)


class People(UserDatastore):
    """Finds and keeps persons in PostgreSQL, each call in a transaction of its own."""

    def __init__(self, sessions: Sessions) -> None:
        super().__init__(Person, PersonRole)
        self._sessions = sessions

    def find_user(self, case_insensitive: bool = False, **criterion: object) -> Person | None:
        """The person with this `email` or `fs_uniquifier`. Service principals are never found: they cannot sign in."""
        ((column, value),) = criterion.items()
        if column == "email":
            value = str(value).lower()
        query = sa.select(User).where(getattr(User, column) == value, User.service.is_(False))
        with self._sessions.begin() as session:
            row = session.scalar(query)
            return _as_person(row) if row else None

    def put(self, model: Person) -> Person:
        """Keep a changed password, state or uniquifier."""
        change = sa.update(User).where(User.id == model.id)
        with self._sessions.begin() as session:
            session.execute(
                change.values(password=model.password, active=model.active, fs_uniquifier=model.fs_uniquifier)
            )
        return model

    def commit(self) -> None:
        """Nothing is left to commit: `put` has."""

    def end_sessions(self, person: Person) -> None:
        """Make every cookie of the person worthless, on every device."""
        self.set_uniquifier(person)
        self.put(person)

    def signed_in(self, person: Person) -> None:
        """Remember this sign-in and the one before it."""
        change = sa.update(User).where(User.id == person.id)
        with self._sessions.begin() as session:
            session.execute(
                change.values(last_login_at=User.current_login_at, current_login_at=datetime.now(UTC))
            )


def _as_person(row: User) -> Person:
    return Person(
        id=row.id,
        email=row.email,
        name=row.name,
        department_id=row.department_id,
        department_name=row.department.name,
        password=row.password,
        active=row.active,
        fs_uniquifier=row.fs_uniquifier,
        roles=[PersonRole(role.name) for role in row.roles],
    )
