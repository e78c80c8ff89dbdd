"""The tables of signing in. A session, a device or a second factor is a row; without its row it is nothing.

None is under row-level security: they are read before it is known who asks, and so before any department is.
"""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, ForeignKey, func
from sqlalchemy.orm import Mapped, mapped_column, relationship

from dermabatch.schema import Base, CreatedAt, Id, User

_OfUser = Annotated[UUID, mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)]
_OneOfUser = Annotated[UUID, mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)]
_Now = Annotated[datetime, mapped_column(server_default=func.clock_timestamp())]


class WebSession(Base):
    """Somebody's stay in the portal, in one browser. Ending it removes the row.

    Not `complete` means that the password was right and the second factor is still missing.
    """

    __tablename__ = "web_sessions"
    __table_args__ = (CheckConstraint("length(token_hash) = 32", name="token_is_hashed"),)

    id: Mapped[Id]
    user_id: Mapped[_OfUser]
    token_hash: Mapped[bytes] = mapped_column(unique=True)
    complete: Mapped[bool]
    address: Mapped[str]
    browser: Mapped[str]
    created_at: Mapped[CreatedAt]
    seen_at: Mapped[_Now]
    ends_at: Mapped[datetime] = mapped_column(index=True)

    user: Mapped[User] = relationship(lazy="joined", innerjoin=True)


class KnownDevice(Base):
    """A browser in which somebody has signed in. One on a ward may be known for many people."""

    __tablename__ = "known_devices"
    __table_args__ = (CheckConstraint("length(token_hash) = 32", name="token_is_hashed"),)

    user_id: Mapped[_OneOfUser]
    token_hash: Mapped[bytes] = mapped_column(primary_key=True)
    address: Mapped[str]
    """From where the last sign-in came."""
    last_used_at: Mapped[_Now]


class SecondFactor(Base):
    """Somebody's authenticator app. It counts once it has been confirmed with a first code."""

    __tablename__ = "second_factors"
    __table_args__ = (
        CheckConstraint("confirmed_at IS NOT NULL OR last_step = 0", name="unconfirmed_is_unused"),
    )

    user_id: Mapped[_OneOfUser]
    wrapped_secret: Mapped[bytes]
    prepared_at: Mapped[_Now]
    confirmed_at: Mapped[datetime | None]
    last_step: Mapped[int] = mapped_column(sa.BigInteger, server_default="0")
    """The time step of the newest code that was taken; none up to it is taken again."""


class RecoveryCode(Base):
    """One of the codes that stand in for a lost authenticator, each once."""

    __tablename__ = "recovery_codes"
    __table_args__ = (CheckConstraint("length(code_hash) = 32", name="code_is_hashed"),)

    id: Mapped[Id]
    user_id: Mapped[_OfUser]
    code_hash: Mapped[bytes] = mapped_column(unique=True)
    used_at: Mapped[datetime | None]


class GuessCounter(Base):
    """How many wrong guesses came lately from one place. Keys are keyed hashes: a typing error may be a password."""

    __tablename__ = "guess_counters"
    __table_args__ = (CheckConstraint("level >= 0", name="level_counts"),)

    key: Mapped[bytes] = mapped_column(primary_key=True)
    account: Mapped[bytes | None] = mapped_column(index=True)
    level: Mapped[float] = mapped_column(sa.Double, server_default="0")
    counted_at: Mapped[_Now]
    forgotten_at: Mapped[_Now] = mapped_column(index=True)
