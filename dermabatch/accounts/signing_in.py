"""Signing in, step by step: the password, then the code of the second factor. Each step leaves one audit event.

>>> opened = sign_in(sessions, rules, email=..., password=..., origin=..., actor=...)
>>> opened.complete or give_code(sessions, rules, stay, code=..., origin=..., actor=...)
"""

from dataclasses import dataclass, replace
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dermabatch import audit
from dermabatch.accounts import passwords, second_factor
from dermabatch.accounts.devices import familiarity, remember_device
from dermabatch.accounts.guessing import Guess, GuessLimit, forget_old_guesses
from dermabatch.accounts.noting import note
from dermabatch.accounts.people import actor_for
from dermabatch.accounts.sessions import (
    Origin,
    SessionLimits,
    drop_halves,
    drop_sessions,
    forget_ended_sessions,
    open_session,
)
from dermabatch.accounts.tables import WebSession
from dermabatch.audit import Action, Actor, Event, Outcome
from dermabatch.database import Sessions
from dermabatch.errors import ConfigurationError, SignInRefused, TooManyGuesses
from dermabatch.schema import User
from dermabatch.settings import Settings
from dermabatch.subjects import KeyRing


@dataclass(frozen=True, slots=True)
class SignInRules:
    """What an installation demands of who signs in."""

    salt: str
    keyring: KeyRing
    limits: SessionLimits
    second_factor_for: frozenset[str]
    """Roles that may not sign in without a second factor."""

    @classmethod
    def from_settings(cls, settings: Settings, keyring: KeyRing) -> "SignInRules":
        """As the installation is set up.

        Raises:
            ConfigurationError: the key of the password hashes is missing.
        """
        if settings.password_salt is None:
            raise ConfigurationError("Signing in needs DERMABATCH_PASSWORD_SALT, which is not set.")
        return cls(
            salt=settings.password_salt.get_secret_value(),
            keyring=keyring,
            limits=SessionLimits(
                idle=timedelta(minutes=settings.session_idle_minutes),
                absolute=timedelta(hours=settings.session_hours),
            ),
            second_factor_for=frozenset(settings.second_factor_for),
        )

    def demand_second_factor(self, user: User) -> bool:
        """Whether a role of this person asks for a second factor."""
        return any(role.name in self.second_factor_for for role in user.roles)


@dataclass(frozen=True, slots=True)
class Opened:
    """A stay that has begun."""

    token: str
    """For the session cookie."""
    complete: bool
    """Otherwise the second factor is still missing: its code, or its enrolment."""
    device: str | None
    """For the device cookie."""


def sign_in(
    sessions: Sessions, rules: SignInRules, *, email: str, password: str, origin: Origin, actor: Actor
) -> Opened:
    """Check address and password and begin a stay.

    Unknown, disabled and mistyped take the same way, through one comparison of a hash, to the same answer.

    Args:
        actor: somebody unknown, from where the request comes.

    Raises:
        SignInRefused: no active person has this address and password.
        TooManyGuesses: it comes too early after wrong ones; the password was not looked at.
    """
    # What cannot be seen may be pasted.
    email = "".join(filter(str.isprintable, email)).strip().lower()
    limit = GuessLimit(rules.salt)
    user = _find_person(sessions, email)
    guess = _counted(sessions, limit, email, origin, user=user, actor=actor)
    # Slow on purpose, so that no transaction may be open.
    fits = passwords.password_fits(password, user.password if user else None, salt=rules.salt)
    with sessions.begin() as session:
        present = _lock(session, user) if user is not None and fits and user.active else None
        if present is not None:
            limit.forgive(session, guess)
            return _after_the_password(session, rules, present, password, origin=origin, actor=actor)
        _note_refusal(session, user, actor, "password" if user is None or user.active else "disabled")
    raise SignInRefused("The address or the password is not right.")


def confirm_password(
    sessions: Sessions, rules: SignInRules, user: User, *, password: str, origin: Origin, actor: Actor
) -> None:
    """Ask somebody who is signed in for the password again, counted like any other guess.

    Raises:
        SignInRefused: it is not right.
        TooManyGuesses: it comes too early after wrong ones.
    """
    limit = GuessLimit(rules.salt)
    guess = _counted(sessions, limit, user.email, origin, user=user, actor=actor)
    fits = passwords.password_fits(password, user.password, salt=rules.salt)
    with sessions.begin() as session:
        if fits:
            limit.forgive(session, guess)
            return
        _note_refusal(session, user, actor, "password")
    raise SignInRefused("The present password is not right. Nothing was changed.")


def give_code(
    sessions: Sessions, rules: SignInRules, stay: WebSession, *, code: str, origin: Origin, actor: Actor
) -> Opened:
    """Take the code of the second factor, or a recovery code, and complete a stay under a new token.

    Raises:
        SignInRefused: it is wrong, or was used before.
        TooManyGuesses: it comes too early after wrong ones.
    """
    limit = GuessLimit(rules.salt, "code")
    guess = _counted(sessions, limit, stay.user.email, origin, user=stay.user, actor=actor)
    with sessions.begin() as session:
        user = _lock(session, stay.user)
        proof = second_factor.prove(session, rules.keyring, user.id, code) if user else None
        if user is not None and proof is not None:
            limit.forgive(session, guess)
            return complete(session, rules, user, origin=origin, actor=actor, proof=proof)
        _note_refusal(session, stay.user, actor, "code")
    raise SignInRefused("The code is not right, or was used before.")


def complete(
    session: Session,
    rules: SignInRules,
    user: User,
    *,
    origin: Origin,
    actor: Actor,
    proof: second_factor.Proof | None,
) -> Opened:
    """Begin the stay that opens doors, under a token that no stay before it had.

    Args:
        proof: of the second factor; None where none was asked for.
    """
    known = familiarity(session, user.email, origin)
    user.last_login_at, user.current_login_at = user.current_login_at, sa.func.clock_timestamp()
    details = {"second_factor": proof, "known_from": known}
    note(session, Action.SESSION_SIGN_IN, user, actor=_as(user, actor), details=details)
    drop_halves(session, user)
    return _open(session, rules, user, origin)


def renew(session: Session, rules: SignInRules, user: User, *, origin: Origin) -> Opened:
    """End every stay of a person who has changed how they sign in, and go on here under a new token."""
    drop_sessions(session, user)
    return _open(session, rules, user, origin)


def _open(session: Session, rules: SignInRules, user: User, origin: Origin) -> Opened:
    return Opened(
        token=open_session(session, user, complete=True, origin=origin, limits=rules.limits),
        complete=True,
        device=remember_device(session, user.id, origin),
    )


def _find_person(sessions: Sessions, email: str) -> User | None:
    """Whoever has this address. Service principals are never found: they cannot sign in."""
    with sessions.begin() as session:
        return session.scalar(sa.select(User).where(User.email == email, User.service.is_(False)))


def _lock(session: Session, user: User) -> User | None:
    """The person as they are now, if still active; nobody disables them until the commit."""
    query = sa.select(User).where(User.id == user.id, User.active, User.password == user.password)
    return session.scalar(query.with_for_update(of=User))


def _counted(
    sessions: Sessions, limit: GuessLimit, email: str, origin: Origin, *, user: User | None, actor: Actor
) -> Guess:
    try:
        with sessions.begin() as session:
            return limit.count(session, email, origin)
    except TooManyGuesses:
        with sessions.begin() as session:
            _note_refusal(session, user, actor, "held_back")
        raise


def _after_the_password(
    session: Session, rules: SignInRules, user: User, password: str, *, origin: Origin, actor: Actor
) -> Opened:
    assert user.password is not None  # it was right
    if passwords.is_outdated(user.password):
        user.password = passwords.rehash(password, salt=rules.salt)
    forget_old_guesses(session)
    forget_ended_sessions(session, limits=rules.limits)
    enrolled = second_factor.is_enrolled(session, user.id)
    if not enrolled and not rules.demand_second_factor(user):
        return complete(session, rules, user, origin=origin, actor=actor, proof=None)
    token = open_session(session, user, complete=False, origin=origin, limits=rules.limits)
    missing = "code" if enrolled else "enrolment"
    note(session, Action.SESSION_HALF_WAY, user, actor=_as(user, actor), details={"missing": missing})
    return Opened(token, complete=False, device=origin.device)


def _note_refusal(session: Session, user: User | None, actor: Actor, reason: str) -> None:
    if user is not None:
        details = {"reason": reason}
        note(session, Action.SESSION_REFUSED, user, actor=actor, outcome=Outcome.REFUSED, details=details)
        return
    event = Event(Action.SESSION_REFUSED, Outcome.REFUSED, actor=actor, details={"reason": reason})
    audit.append(session, event)


def _as(user: User, actor: Actor) -> Actor:
    """From now on the request is this person's."""
    return replace(actor_for(user, source=actor.source), request_id=actor.request_id)
