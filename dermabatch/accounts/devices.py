"""Browsers and addresses from which somebody has signed in before. They are what an attacker does not have."""

from datetime import timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from dermabatch.accounts.sessions import Origin, new_token, token_hash
from dermabatch.accounts.tables import KnownDevice
from dermabatch.schema import User

KNOWN_FOR: Final = timedelta(days=90)
"""Since the last sign-in."""


class Familiarity(StrEnum):
    """How well a person's account knows the place that a request comes from."""

    DEVICE = "device"  # this browser has signed in as this person
    ADDRESS = "address"  # another browser at this address has: a ward behind one address
    NONE = "none"


def familiarity(session: Session, email: str, origin: Origin) -> Familiarity:
    """How well the account with this address, if there is one, knows a place."""
    same_device = KnownDevice.token_hash == token_hash(origin.device or "")
    query = (
        sa.select(
            sa.func.coalesce(sa.func.bool_or(same_device), False),
            sa.func.coalesce(sa.func.bool_or(KnownDevice.address == origin.address), False),
        )
        .join(User, User.id == KnownDevice.user_id)
        .where(User.email == email, KnownDevice.last_used_at > sa.func.clock_timestamp() - KNOWN_FOR)
    )
    device, address = session.execute(query).one()
    if device:
        return Familiarity.DEVICE
    return Familiarity.ADDRESS if address else Familiarity.NONE


def remember_device(session: Session, user_id: UUID, origin: Origin) -> str:
    """Know this browser from now on; returns the token for its cookie, the one it has if it has one."""
    token = origin.device or new_token()
    now = sa.func.clock_timestamp()
    session.execute(
        insert(KnownDevice)
        .values(user_id=user_id, token_hash=token_hash(token), address=origin.address)
        .on_conflict_do_update(
            index_elements=["user_id", "token_hash"], set_={"address": origin.address, "last_used_at": now}
        )
    )
    strangers_by_now = sa.delete(KnownDevice).where(
        KnownDevice.user_id == user_id, KnownDevice.last_used_at < now - KNOWN_FOR
    )
    session.execute(strangers_by_now)
    return token


def forget_devices(session: Session, user: User) -> None:
    """Know no browser of a person any more."""
    session.execute(sa.delete(KnownDevice).where(KnownDevice.user_id == user.id))
