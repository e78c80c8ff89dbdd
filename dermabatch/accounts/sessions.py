"""Stays in the portal. The row is the truth: a browser holds a random token, the database its hash.

Whatever takes rights away removes rows, in the same transaction, and the next request finds nothing.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dermabatch.accounts.noting import note
from dermabatch.accounts.tables import WebSession
from dermabatch.audit import Action, Actor
from dermabatch.schema import User

UNFINISHED: Final = timedelta(minutes=10)
"""How long the second factor may take after the password."""

_SEEN_NOTED_EVERY: Final = timedelta(minutes=1)
_TOKEN_BYTES: Final = 32
_BROWSER_KEPT: Final = 200


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request comes from."""

    address: str
    browser: str = ""
    device: str | None = None
    """The token of the device cookie, if the browser has one."""


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How long a stay lasts: without a sign of its person, and at the most."""

    idle: timedelta
    absolute: timedelta


def new_token() -> str:
    """A secret for a cookie. 256 random bits, so that a plain hash of it is enough: there is nothing to guess."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def token_hash(token: str) -> bytes:
    """What is stored of a token."""
    return hashlib.sha256(token.encode()).digest()


def open_session(
    session: Session, user: User, *, complete: bool, origin: Origin, limits: SessionLimits
) -> str:
    """Begin a stay, and return the token for the browser. Never the token of a stay before it."""
    token = new_token()
    lasts = limits.absolute if complete else UNFINISHED
    session.add(
        WebSession(
            user=user,
            token_hash=token_hash(token),
            complete=complete,
            address=origin.address,
            browser=origin.browser[:_BROWSER_KEPT],
            ends_at=sa.func.clock_timestamp() + lasts,
        )
    )
    session.flush()
    return token


def find_session(session: Session, token: str, *, limits: SessionLimits, in_use: bool) -> WebSession | None:
    """The stay that a token belongs to, if it has not ended and its person is active.

    Args:
        in_use: whether a person asks, and not a page that follows a batch by itself and would never fall idle.
    """
    found = session.scalar(
        sa.select(WebSession).where(
            WebSession.token_hash == token_hash(token), WebSession.user.has(User.active), *_alive(limits)
        )
    )
    if found is not None and in_use:
        _note_use(session, found)
    return found


def list_sessions(session: Session, user_id: UUID, *, limits: SessionLimits) -> list[WebSession]:
    """The stays of a person that go on, the one used last first."""
    query = sa.select(WebSession).where(WebSession.user_id == user_id, WebSession.complete, *_alive(limits))
    return list(session.scalars(query.order_by(WebSession.seen_at.desc())))


def drop_sessions(session: Session, user: User) -> int:
    """End every stay of a person without an event of its own: whatever ends them has one. Returns how many."""
    ended = sa.delete(WebSession).where(WebSession.user_id == user.id).returning(WebSession.id)
    return len(session.scalars(ended).all())


def drop_halves(session: Session, user: User) -> None:
    """End what waits for a second factor of this person: it was given, and one password opens one door."""
    session.execute(sa.delete(WebSession).where(WebSession.user_id == user.id, ~WebSession.complete))


def end_sessions(session: Session, user: User, *, actor: Actor) -> int:
    """Sign a person out everywhere; returns from how many browsers."""
    ended = drop_sessions(session, user)
    note(session, Action.SESSION_ENDED, user, actor=actor, details={"sessions": ended})
    return ended


def end_session(session: Session, found: WebSession, *, actor: Actor, signed_out: bool) -> None:
    """End one stay.

    Args:
        signed_out: in the browser itself, and not from another one.
    """
    action = Action.SESSION_SIGN_OUT if signed_out else Action.SESSION_ENDED
    note(session, action, found.user, actor=actor, thing=("session", found.id))
    session.delete(found)
    session.flush()


def forget_ended_sessions(session: Session, *, limits: SessionLimits) -> None:
    """Remove what ended by itself. Skips what another sign-in is removing: they must not wait for each other."""
    ended = (
        sa.select(WebSession.id).where(sa.not_(sa.and_(*_alive(limits)))).with_for_update(skip_locked=True)
    )
    session.execute(sa.delete(WebSession).where(WebSession.id.in_(ended)))


def _alive(limits: SessionLimits) -> tuple[sa.ColumnElement[bool], ...]:
    now = sa.func.clock_timestamp()
    return WebSession.ends_at > now, WebSession.seen_at > now - limits.idle


def _note_use(session: Session, found: WebSession) -> None:
    # Not at every request, and never waiting for another one that does the same.
    now = sa.func.clock_timestamp()
    session.execute(
        sa.update(WebSession)
        .where(WebSession.id == found.id, WebSession.seen_at < now - _SEEN_NOTED_EVERY)
        .values(seen_at=now)
        .execution_options(synchronize_session=False)
    )
