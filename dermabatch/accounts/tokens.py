"""Tokens with which programs act for people."""

import hashlib
import secrets
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dermabatch.accounts.noting import note
from dermabatch.accounts.roles import ADMINISTRATOR, ROLES, STAFF, has_role
from dermabatch.audit import Action, Actor
from dermabatch.errors import InvalidRequest, NotAllowed
from dermabatch.schema import ApiToken, User

TOKEN_PREFIX: Final = "dbt_"  # noqa: S105 - secret scanners find leaked tokens by it
_TOKEN_BYTES: Final = 32
_USE_NOTED_EVERY: Final = timedelta(minutes=1)


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
    note(
        session,
        Action.TOKEN_CREATED,
        user,
        actor=actor,
        thing=("token", token.id),
        details={
            "scopes": token.scopes,
            "expires_at": expires_at.isoformat() if expires_at else None,
        },
    )
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
    """End a token for good. Repeating it changes nothing but the trail."""
    repeated = token.revoked_at is not None
    token.revoked_at = token.revoked_at or datetime.now(UTC)
    details = {"repeated": repeated}
    note(session, Action.TOKEN_REVOKED, token.user, actor=actor, thing=("token", token.id), details=details)


def revoke_excessive_tokens(session: Session, user: User) -> list[str]:
    """End every token that carries more than its owner may do now; all of them where the owner is disabled.

    A role that comes back later must not wake them up.

    Returns:
        Their ids, for the event of whatever took the roles away.
    """
    excessive = [
        token
        for token in list_tokens(session, user)
        if token.revoked_at is None
        and not all(has_role(user, *ROLES_FOR_SCOPE[Scope(scope)]) for scope in token.scopes)
    ]
    for token in excessive:
        token.revoked_at = datetime.now(UTC)
    return [str(token.id) for token in excessive]


def _token_hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
