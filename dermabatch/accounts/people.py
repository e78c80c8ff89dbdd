"""People and service principals: who they are, what they may do, whether they are let in.

Every function works inside the caller's transaction and leaves its audit event there.
"""

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dermabatch.accounts import second_factor
from dermabatch.accounts.devices import forget_devices
from dermabatch.accounts.guessing import GuessLimit
from dermabatch.accounts.noting import note
from dermabatch.accounts.passwords import hash_password
from dermabatch.accounts.roles import ROLES
from dermabatch.accounts.sessions import drop_sessions
from dermabatch.accounts.tokens import revoke_excessive_tokens
from dermabatch.audit import Action, Actor, ActorKind, Details
from dermabatch.errors import Conflict, InvalidRequest, NotAllowed, NotFound
from dermabatch.schema import Department, Role, User


def actor_for(user: User, *, source: str, request_id: str | None = None) -> Actor:
    """This user as the audit trail names the doer of an event."""
    kind = ActorKind.SERVICE if user.service else ActorKind.PERSON
    return Actor(user.id, kind, source, request_id)


def find_actor(session: Session, email: str, *, source: str) -> Actor:
    """The active user with this address as the doer of events. Reads no more of them: the training job may not.

    Raises:
        NotFound: there is none.
        NotAllowed: disabled.
    """
    query = sa.select(User.id, User.service, User.active).where(User.email == email.strip().lower())
    found = session.execute(query).one_or_none()
    if found is None:
        raise NotFound(f"There is no user {email}")
    if not found.active:
        raise NotAllowed(f"Expected an active user. Received: {email}")
    return Actor(found.id, ActorKind.SERVICE if found.service else ActorKind.PERSON, source)


def create_user(
    session: Session,
    *,
    email: str,
    name: str,
    password: str,
    roles: Collection[str],
    department: Department,
    salt: str,
    actor: Actor,
) -> User:
    """Add a person who can sign in.

    Raises:
        InvalidRequest: no e-mail address, an unknown role, or a password that is too short or too easy to guess.
        Conflict: the address is taken.
    """
    return _add_user(
        session,
        User(
            email=_checked_email(session, email),
            name=name,
            department=department,
            password=hash_password(password, salt=salt, about=(email, name)),
            roles=_roles(session, roles),
        ),
        actor,
    )


def create_service(
    session: Session,
    *,
    email: str,
    name: str,
    department: Department,
    actor: Actor,
    roles: Collection[str] = (),
) -> User:
    """Add a principal that acts by itself: it has no password, and so no way to sign in.

    Raises:
        InvalidRequest, Conflict: as `create_user`.
    """
    return _add_user(
        session,
        User(
            email=_checked_email(session, email),
            name=name,
            department=department,
            service=True,
            roles=_roles(session, roles),
        ),
        actor,
    )


def find_user(session: Session, email: str) -> User:
    """The user with this address, in any spelling of case.

    Raises:
        NotFound: there is none.
    """
    user = session.scalar(sa.select(User).where(User.email == email.strip().lower()))
    if user is None:
        raise NotFound(f"There is no user {email}")
    return user


def list_users(session: Session) -> list[User]:
    """Everybody, people and service principals, by address."""
    return list(session.scalars(sa.select(User).order_by(User.email)))


def set_roles(session: Session, user: User, roles: Collection[str], *, actor: Actor) -> None:
    """Give a user exactly these roles. Where that changes anything, sessions end, and tokens that now reach too far.

    Raises:
        InvalidRequest: an unknown role.
    """
    before = sorted(role.name for role in user.roles)
    user.roles = _roles(session, roles)
    details: Details = {"roles": sorted(roles), "roles_before": before}
    if before != sorted(set(roles)):
        details = {**details, **_shut_out(session, user)}
    _note_change(session, user, actor, details)


def set_password(session: Session, user: User, password: str, *, salt: str, actor: Actor) -> None:
    """Replace a person's password and end all their sessions; no browser of theirs is known any more.

    Raises:
        InvalidRequest: the password is too short or too easy to guess, or the user is a service principal.
    """
    if user.service:
        raise InvalidRequest(f"Expected a person. Received: {user.email}, which cannot sign in")
    user.password = hash_password(password, salt=salt, about=(user.email, user.name))
    # A thief of the former password may have signed in: their browser is a stranger again.
    forget_devices(session, user)
    details: Details = {"password": "replaced", "sessions_ended": drop_sessions(session, user)}
    _note_change(session, user, actor, details)


def disable(session: Session, user: User, *, actor: Actor) -> None:
    """Shut a user out: sessions end, tokens are revoked, signing in is refused. What they did stays."""
    user.active = False
    _note_change(session, user, actor, {"active": False, **_shut_out(session, user)})


def enable(session: Session, user: User, *, actor: Actor) -> None:
    """Let a disabled user in again, with the password and the second factor of before. Tokens stay revoked."""
    user.active = True
    _note_change(session, user, actor, {"active": True})


def forget_guesses(session: Session, user: User, limit: GuessLimit, *, actor: Actor) -> None:
    """Let somebody try again at once who was held back by wrong guesses, their own or a stranger's."""
    limit.clear(session, user.email)
    _note_change(session, user, actor, {"guesses": "forgotten"})


def reset_second_factor(session: Session, user: User, *, actor: Actor) -> None:
    """Let somebody in who lost their authenticator: with the password alone, and out of every session.

    Raises:
        NotFound: there is no second factor.
    """
    second_factor.remove(session, user, actor=actor)
    drop_sessions(session, user)


def _checked_email(session: Session, email: str) -> str:
    address = email.strip().lower()
    local, _, domain = address.partition("@")
    if not local or not domain or any(character.isspace() for character in address):
        raise InvalidRequest(f"Expected an e-mail address. Received: {email!r}")
    if session.scalar(sa.select(sa.exists().where(User.email == address))):
        raise Conflict(f"Expected a new user. Received: {address}, who exists")
    return address


def _roles(session: Session, names: Collection[str]) -> list[Role]:
    roles = list(session.scalars(sa.select(Role).where(Role.name.in_(names)).order_by(Role.name)))
    if unknown := set(names) - {role.name for role in roles}:
        raise InvalidRequest(f"Expected roles of: {', '.join(ROLES)}. Received: {', '.join(sorted(unknown))}")
    return roles


def _add_user(session: Session, user: User, actor: Actor) -> User:
    session.add(user)
    session.flush()
    roles = sorted(role.name for role in user.roles)
    note(session, Action.USER_CREATED, user, actor=actor, details={"roles": roles})
    return user


def _shut_out(session: Session, user: User) -> Details:
    """End what rights that are gone have opened, and say what that was."""
    return {
        "sessions_ended": drop_sessions(session, user),
        "tokens_revoked": revoke_excessive_tokens(session, user),
    }


def _note_change(session: Session, user: User, actor: Actor, details: Details) -> None:
    session.flush()
    note(session, Action.USER_CHANGED, user, actor=actor, details=details)
