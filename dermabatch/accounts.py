"""Departments, people, service principals, and the tokens with which programs act for them.

Every function works inside the caller's transaction and leaves its audit event there.
"""

import base64
import hashlib
import hmac
import secrets
import unicodedata
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

import argon2
import sqlalchemy as sa
from sqlalchemy.orm import Session

from dermabatch import audit
from dermabatch.audit import Action, Actor, ActorKind, Details, Event, Outcome
from dermabatch.database import Sessions
from dermabatch.errors import Conflict, InvalidRequest, NotAllowed, NotFound
from dermabatch.schema import ApiToken, Department, Role, User

STAFF: Final = "staff"
ADMINISTRATOR: Final = "administrator"
ROLES: Final = (STAFF, ADMINISTRATOR)

INSTALLER: Final = "installer@service.invalid"
"""The service principal that publishes the shipped model, so that every person may be the second one."""

TRAINER: Final = "trainer@service.invalid"
"""The service principal that publishes what the training job has made. It activates nothing."""

_SERVICES: Final = {INSTALLER: "Installer", TRAINER: "Training job"}

DEFAULT_DEPARTMENT: Final = "Dermatology"

MIN_PASSWORD_LENGTH: Final = 12
"""In characters. OWASP ASVS 5.0 (6.2.1) demands 8 and recommends 15."""

TOKEN_PREFIX: Final = "dbt_"  # noqa: S105 - secret scanners find leaked tokens by it
_TOKEN_BYTES: Final = 32
_USE_NOTED_EVERY: Final = timedelta(minutes=1)

# Any number works; it must only be ours.
_BOOTSTRAP_LOCK: Final = 7_261_532_914


class Scope(StrEnum):
    """What a token may be used for. It never gives its owner more than the owner's roles do."""

    BATCHES_WRITE = "batches:write"
    BATCHES_READ = "batches:read"
    MODELS_READ = "models:read"
    MODELS_WRITE = "models:write"
    AUDIT_READ = "audit:read"


ROLES_FOR_SCOPE: Final = {
    Scope.BATCHES_WRITE: frozenset({STAFF}),
    Scope.BATCHES_READ: frozenset({STAFF}),
    Scope.MODELS_READ: frozenset(ROLES),
    Scope.MODELS_WRITE: frozenset({ADMINISTRATOR}),
    Scope.AUDIT_READ: frozenset({ADMINISTRATOR}),
}
"""Any one of these roles is enough for the scope."""


def hash_password(password: str, *, salt: str) -> str:
    """Hash a password the way Flask-Security verifies it.

    That is argon2id over base64(HMAC-SHA512(salt, NFKD(password))), with the parameters of RFC 9106.

    Args:
        password: as the person types it.
        salt: `settings.password_salt`, which the portal knows as SECURITY_PASSWORD_SALT.

    Raises:
        InvalidRequest: the password is shorter than `MIN_PASSWORD_LENGTH` characters.
    """
    if len(password) < MIN_PASSWORD_LENGTH:
        raise InvalidRequest(
            f"Expected a password of at least {MIN_PASSWORD_LENGTH} characters. Received: {len(password)}"
        )
    normalized = unicodedata.normalize("NFKD", password)
    keyed = hmac.new(salt.encode(), normalized.encode(), hashlib.sha512).digest()
    return argon2.PasswordHasher().hash(base64.b64encode(keyed))


def bootstrap(sessions: Sessions, *, source: str) -> UUID:
    """Make what every installation needs: one department, and the service principals. Safe to repeat.

    Returns:
        The id of the installer.
    """
    with sessions.begin() as session:
        # Two programs starting at once must not both find nothing.
        session.execute(sa.select(sa.func.pg_advisory_xact_lock(_BOOTSTRAP_LOCK)))
        query = sa.select(User.email, User.id).where(User.email.in_(_SERVICES))
        services = {email: user_id for email, user_id in session.execute(query)}
        actor = Actor(None, ActorKind.SERVICE, source)
        for email in _SERVICES.keys() - services.keys():
            services[email] = create_service(
                session,
                email=email,
                name=_SERVICES[email],
                department=_any_department(session, actor),
                actor=actor,
            ).id
        return services[INSTALLER]


def _any_department(session: Session, actor: Actor) -> Department:
    oldest = session.scalar(sa.select(Department).order_by(Department.id).limit(1))
    return oldest or create_department(session, DEFAULT_DEPARTMENT, actor=actor)


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


def create_department(session: Session, name: str, *, actor: Actor) -> Department:
    """Add a department, which starts out empty and sees nobody else's work.

    Raises:
        Conflict: there is one of this name.
    """
    if session.scalar(sa.select(sa.exists().where(Department.name == name))):
        raise Conflict(f"Expected a new department. Received: {name}, which exists")
    department = Department(name=name)
    session.add(department)
    session.flush()
    audit.append(
        session,
        Event(
            Action.DEPARTMENT_CREATED,
            Outcome.SUCCESS,
            actor=actor,
            object_type="department",
            object_id=str(department.id),
        ),
    )
    return department


def find_department(session: Session, name: str | None = None) -> Department:
    """The department of this name; without a name the oldest one.

    Raises:
        NotFound: there is none.
    """
    query = sa.select(Department).order_by(Department.id).limit(1)
    if name is not None:
        query = query.where(Department.name == name)
    department = session.scalar(query)
    if department is None:
        raise NotFound(f"There is no department {name}" if name else "There is no department yet")
    return department


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
        InvalidRequest: no e-mail address, an unknown role, or a short password.
        Conflict: the address is taken.
    """
    return _add_user(
        session,
        User(
            email=_checked_email(session, email),
            name=name,
            department=department,
            password=hash_password(password, salt=salt),
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
    """Give a user exactly these roles.

    Raises:
        InvalidRequest: an unknown role.
    """
    before = sorted(role.name for role in user.roles)
    user.roles = _roles(session, roles)
    _note_change(session, user, actor, {"roles": sorted(roles), "roles_before": before})


def set_password(session: Session, user: User, password: str, *, salt: str, actor: Actor) -> None:
    """Replace a person's password and end all their sessions.

    Raises:
        InvalidRequest: the password is too short, or the user is a service principal.
    """
    if user.service:
        raise InvalidRequest(f"Expected a person. Received: {user.email}, which cannot sign in")
    user.password = hash_password(password, salt=salt)
    _end_sessions(user)
    _note_change(session, user, actor, {"password": "replaced"})


def disable(session: Session, user: User, *, actor: Actor) -> None:
    """Shut a user out: sessions end, tokens stop working, signing in is refused. What they did stays."""
    user.active = False
    _end_sessions(user)
    _note_change(session, user, actor, {"active": False})


def enable(session: Session, user: User, *, actor: Actor) -> None:
    """Let a disabled user in again."""
    user.active = True
    _note_change(session, user, actor, {"active": True})


def has_role(user: User, *roles: str) -> bool:
    """Whether the user is active and has at least one of these roles."""
    return user.active and any(role.name in roles for role in user.roles)


def may_use(token: ApiToken, scope: Scope) -> bool:
    """Whether the token carries the scope and its owner still has a role that allows it."""
    return scope in token.scopes and has_role(token.user, *ROLES_FOR_SCOPE[scope])


def create_token(
    session: Session,
    user: User,
    *,
    name: str,
    scopes: Collection[Scope],
    expires_at: datetime | None,
    actor: Actor,
) -> str:
    """Make a token and return its secret, which is kept nowhere: only its SHA-256 is stored.

    The secret has 256 random bits, so that a plain hash is enough: there is nothing to guess.

    Raises:
        InvalidRequest: no scope at all, or an end that has passed.
        NotAllowed: a scope beyond the roles of the user.
    """
    if not scopes:
        raise InvalidRequest(f"Expected at least one scope of: {', '.join(Scope)}. Received: none")
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise InvalidRequest(f"Expected an end in the future. Received: {expires_at.isoformat()}")
    for scope in scopes:
        if not has_role(user, *ROLES_FOR_SCOPE[scope]):
            raise NotAllowed(f"{user.email} has no role that allows {scope}")
    secret = TOKEN_PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)
    token = ApiToken(
        user=user, name=name, token_hash=_token_hash(secret), scopes=sorted(scopes), expires_at=expires_at
    )
    session.add(token)
    session.flush()
    details: Details = {
        "scopes": token.scopes,
        "expires_at": expires_at.isoformat() if expires_at else None,
    }
    _note(session, Action.TOKEN_CREATED, token, actor, details)
    return secret


def authenticate(session: Session, secret: str) -> ApiToken | None:
    """The token that this secret belongs to, if it may be used now; its use is noted."""
    now = datetime.now(UTC)
    token = session.scalar(
        sa.select(ApiToken).where(
            ApiToken.token_hash == _token_hash(secret),
            ApiToken.revoked_at.is_(None),
            sa.or_(ApiToken.expires_at.is_(None), ApiToken.expires_at > now),
        )
    )
    if token is None or not token.user.active:
        return None
    # Not at every call: a busy client would write its row again and again.
    if token.last_used_at is None or token.last_used_at < now - _USE_NOTED_EVERY:
        token.last_used_at = now
    return token


def list_tokens(session: Session, user: User) -> list[ApiToken]:
    """All tokens of a user, newest first, with those that were revoked or have ended."""
    return list(
        session.scalars(sa.select(ApiToken).where(ApiToken.user_id == user.id).order_by(ApiToken.id.desc()))
    )


def revoke_token(session: Session, token: ApiToken, *, actor: Actor) -> None:
    """End a token for good. Repeating it changes nothing."""
    if token.revoked_at is not None:
        return
    token.revoked_at = datetime.now(UTC)
    _note(session, Action.TOKEN_REVOKED, token, actor, {})


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
    _note(session, Action.USER_CREATED, user, actor, {"roles": sorted(role.name for role in user.roles)})
    return user


def _end_sessions(user: User) -> None:
    # The portal's cookies name the user by this value.
    user.fs_uniquifier = secrets.token_hex(16)


def _note_change(session: Session, user: User, actor: Actor, details: Details) -> None:
    session.flush()
    _note(session, Action.USER_CHANGED, user, actor, details)


def _note(session: Session, action: Action, thing: User | ApiToken, actor: Actor, details: Details) -> None:
    user = thing.user if isinstance(thing, ApiToken) else thing
    audit.append(
        session,
        Event(
            action,
            Outcome.SUCCESS,
            actor=actor,
            department_id=user.department_id,
            object_type="token" if isinstance(thing, ApiToken) else "user",
            object_id=str(thing.id),
            details={"user": str(user.id), **details},
        ),
    )


def _token_hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
