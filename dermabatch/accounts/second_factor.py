"""The second factor: six digits of an authenticator app (TOTP, RFC 6238), and recovery codes for when it is lost."""

import base64
import hashlib
import hmac
import secrets
import time
from datetime import timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.hotp import HOTP
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from dermabatch.accounts.noting import note
from dermabatch.accounts.tables import RecoveryCode, SecondFactor
from dermabatch.audit import Action, Actor, Outcome
from dermabatch.errors import Conflict, NotFound
from dermabatch.schema import User
from dermabatch.subjects import KeyRing

ISSUER: Final = "Dermabatch"
RECOVERY_CODES: Final = 10
PREPARED_FOR: Final = timedelta(minutes=15)
"""How long a secret waits for its first code, and can be seen."""

_DIGITS: Final = 6
_STEP_SECONDS: Final = 30
_SECRET_BYTES: Final = 20
"""160 bits, as RFC 4226 recommends; 32 letters for whoever types them in."""

_STEPS_AROUND: Final = 1
"""A phone may be half a minute off."""

_RECOVERY_BYTES: Final = 10
"""80 bits: sixteen letters, and nothing to guess, so that a plain hash is enough."""


class Proof(StrEnum):
    """With what somebody has passed."""

    CODE = "code"
    RECOVERY_CODE = "recovery_code"


def is_enrolled(session: Session, user_id: UUID) -> bool:
    """Whether signing in as this person takes a second factor."""
    return user_id in enrolled(session, user_id)


def enrolled(session: Session, *user_ids: UUID) -> set[UUID]:
    """Who has a second factor; of these people, or of all."""
    query = sa.select(SecondFactor.user_id).where(SecondFactor.confirmed_at.is_not(None))
    if user_ids:
        query = query.where(SecondFactor.user_id.in_(user_ids))
    return set(session.scalars(query))


def prepare(session: Session, keyring: KeyRing, user: User, *, actor: Actor) -> None:
    """Make a secret for an authenticator. It counts once `confirm` has seen a code of it; preparing again replaces it.

    Raises:
        Conflict: there is a second factor; it has to be removed first.
    """
    wrapped = keyring.new_wrapped_key(user.id)
    fresh = {"wrapped_secret": wrapped, "prepared_at": sa.func.clock_timestamp()}
    prepared = session.execute(
        insert(SecondFactor)
        .values(user_id=user.id, **fresh)
        .on_conflict_do_update(
            index_elements=["user_id"], set_=fresh, where=SecondFactor.confirmed_at.is_(None)
        )
        .returning(SecondFactor.user_id)
    )
    if prepared.one_or_none() is None:
        raise Conflict("You have a second factor. Remove it before you set up another one.")
    note(session, Action.SECOND_FACTOR_PREPARED, user, actor=actor)


def prepared_secret(session: Session, keyring: KeyRing, user: User) -> bytes | None:
    """The secret that waits to be confirmed: the only time it is shown."""
    factor = session.scalar(sa.select(SecondFactor).where(*_prepared(user.id)))
    return None if factor is None else _secret(keyring, factor.wrapped_secret, user.id)


def address_for_apps(secret: bytes, email: str) -> str:
    """`otpauth://...`, which authenticator apps read from a picture."""
    return TOTP(secret, _DIGITS, SHA1(), _STEP_SECONDS).get_provisioning_uri(email, ISSUER)  # noqa: S303


def secret_as_text(secret: bytes) -> str:
    """The same for typing in: eight groups of four letters and digits."""
    return _in_groups(base64.b32encode(secret).decode())


def confirm(session: Session, keyring: KeyRing, user: User, code: str, *, actor: Actor) -> list[str] | None:
    """Let the prepared authenticator count from now on.

    Returns:
        The recovery codes, shown this once; None where the code was wrong.

    Raises:
        NotFound: nothing is prepared.
    """
    factor = _locked(session, *_prepared(user.id))
    if factor is None:
        raise NotFound("There is no authenticator to confirm. Set one up first.")
    step = _step_of(code, _secret(keyring, factor.wrapped_secret, user.id), after=0)
    if step is None:
        note(session, Action.SECOND_FACTOR_ENROLLED, user, actor=actor, outcome=Outcome.REFUSED)
        return None
    factor.confirmed_at, factor.last_step = sa.func.clock_timestamp(), step
    codes = _replace_recovery_codes(session, user.id)
    note(session, Action.SECOND_FACTOR_ENROLLED, user, actor=actor)
    return codes


def prove(session: Session, keyring: KeyRing, user_id: UUID, code: str) -> Proof | None:
    """Use up a code of the authenticator, or a recovery code. The caller notes what came of it."""
    factor = _locked(session, SecondFactor.user_id == user_id, SecondFactor.confirmed_at.is_not(None))
    if factor is None:
        return None
    step = _step_of(code, _secret(keyring, factor.wrapped_secret, user_id), after=factor.last_step)
    if step is not None:
        factor.last_step = step
        return Proof.CODE
    return Proof.RECOVERY_CODE if _use_recovery_code(session, user_id, code) else None


def renew_recovery_codes(session: Session, user: User, *, actor: Actor) -> list[str]:
    """Make new recovery codes; the former ones are worth nothing.

    Raises:
        Conflict: there is no second factor.
    """
    if not is_enrolled(session, user.id):
        raise Conflict("You have no second factor, and so no use for recovery codes.")
    note(session, Action.SECOND_FACTOR_RECOVERY_CODES, user, actor=actor)
    return _replace_recovery_codes(session, user.id)


def recovery_codes_left(session: Session, user_id: UUID) -> int:
    """How many recovery codes have not been used."""
    unused = sa.select(sa.func.count()).where(RecoveryCode.user_id == user_id, RecoveryCode.used_at.is_(None))
    return session.scalar(unused) or 0


def remove(session: Session, user: User, *, actor: Actor) -> None:
    """Let this person sign in with the password alone, until they enrol again.

    Raises:
        NotFound: there is no second factor.
    """
    removed = sa.delete(SecondFactor).where(SecondFactor.user_id == user.id).returning(SecondFactor.user_id)
    if session.scalar(removed) is None:
        raise NotFound(f"{user.email} has no second factor")
    session.execute(sa.delete(RecoveryCode).where(RecoveryCode.user_id == user.id))
    note(session, Action.SECOND_FACTOR_REMOVED, user, actor=actor)


def _prepared(user_id: UUID) -> tuple[sa.ColumnElement[bool], ...]:
    recent = SecondFactor.prepared_at > sa.func.clock_timestamp() - PREPARED_FOR
    return SecondFactor.user_id == user_id, SecondFactor.confirmed_at.is_(None), recent


def _locked(session: Session, *which: sa.ColumnElement[bool]) -> SecondFactor | None:
    # Of two requests with one code, the second one waits here and then sees that it was used.
    return session.scalar(sa.select(SecondFactor).where(*which).with_for_update())


def _secret(keyring: KeyRing, wrapped: bytes, user_id: UUID) -> bytes:
    return keyring.unwrap(wrapped, user_id)[:_SECRET_BYTES]


def _step_of(code: str, secret: bytes, *, after: int) -> int | None:
    """The time step that a code belongs to, if it is a present one and later than any that was used."""
    typed = "".join(code.split()).encode()
    codes = HOTP(secret, _DIGITS, SHA1())  # noqa: S303 - what authenticator apps compute; HMAC needs no more of it
    now = int(time.time()) // _STEP_SECONDS
    for step in range(now - _STEPS_AROUND, now + _STEPS_AROUND + 1):
        if step > after and hmac.compare_digest(codes.generate(step), typed):
            return step
    return None


def _replace_recovery_codes(session: Session, user_id: UUID) -> list[str]:
    session.execute(sa.delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
    codes = [
        base64.b32encode(secrets.token_bytes(_RECOVERY_BYTES)).decode().lower() for _ in range(RECOVERY_CODES)
    ]
    session.add_all(RecoveryCode(user_id=user_id, code_hash=_code_hash(code)) for code in codes)
    return [_in_groups(code) for code in codes]


def _use_recovery_code(session: Session, user_id: UUID, code: str) -> bool:
    used = (
        sa.update(RecoveryCode)
        .where(
            RecoveryCode.user_id == user_id,
            RecoveryCode.code_hash == _code_hash(code),
            RecoveryCode.used_at.is_(None),
        )
        .values(used_at=sa.func.clock_timestamp())
        .returning(RecoveryCode.id)
    )
    return session.scalar(used) is not None


def _code_hash(code: str) -> bytes:
    typed = "".join(character for character in code.lower() if character.isalnum())
    return hashlib.sha256(typed.encode()).digest()


def _in_groups(text: str) -> str:
    return "-".join(text[start : start + 4] for start in range(0, len(text), 4))
