"""Uploads that broke off: nothing of them is seen as a batch, and no bytes are left that no row stands for."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dermabatch import audit
from dermabatch.database import Sessions
from dermabatch.ledger import stop_work
from dermabatch.lifecycle import BatchState, PackState
from dermabatch.objects import ObjectStore
from dermabatch.schema import Batch, Pack

SILENT_FOR = timedelta(minutes=15)
"""Longer than any pack takes to come in and to be stored. An upload gives no other sign of life."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What `collect_orphans` found.

    Attributes:
        batches: uploads that were given up.
        objects: packs whose bytes were deleted.
    """

    batches: int
    objects: int


def abandon(
    session: Session, batch_id: UUID, *, actor: audit.Actor, why: str, silent_for: timedelta = timedelta(0)
) -> bool:
    """Give up an upload, with whatever of it still waits; False where it was accepted or given up before.

    Packs that are stored stay, because rows stand for their bytes.

    Args:
        why: code of the error that ended it.
        silent_for: leave it alone if it gave a sign of life more recently.
    """
    department_id = session.scalar(
        sa.update(Batch)
        .where(
            Batch.id == batch_id, Batch.state == BatchState.RECEIVING, Batch.touched_at < _before(silent_for)
        )
        .values(state=BatchState.ABANDONED)
        .returning(Batch.department_id)
    )
    if department_id is None:
        return False
    session.execute(
        sa.update(Pack)
        .where(Pack.batch_id == batch_id, Pack.state == PackState.WRITING)
        .values(state=PackState.ABANDONED)
    )
    cancelled = stop_work(session, batch_id)
    audit.append(
        session,
        audit.Event(
            audit.Action.BATCH_UPLOAD,
            audit.Outcome.FAILED,
            actor=actor,
            department_id=department_id,
            object_type="batch",
            object_id=str(batch_id),
            details={"why": why, "cancelled": cancelled},
        ),
    )
    return True


def delete_abandoned(
    *, sessions: Sessions, store: ObjectStore, department: UUID | None = None, batch_id: UUID | None = None
) -> int:
    """Delete the bytes of abandoned packs, and note that they are gone; returns how many packs that were.

    Args:
        department: needed by the portal's role only.
        batch_id: only of this upload.

    Raises:
        ObjectStoreUnavailable: the rest is left for the next time.
    """
    which = sa.select(Pack.id, Pack.object_key).where(
        Pack.state == PackState.ABANDONED, Pack.deleted_at.is_(None)
    )
    if batch_id is not None:
        which = which.where(Pack.batch_id == batch_id)
    with sessions.begin(department=department) as session:
        packs = session.execute(which).all()
    for pack_id, key in packs:
        # No transaction is open while the storage works, and `abandoned` was committed before: no upload can still
        # turn this pack into a stored one.
        store.delete(key)
        with sessions.begin(department=department) as session:
            session.execute(
                sa.update(Pack).where(Pack.id == pack_id).values(deleted_at=sa.func.clock_timestamp())
            )
    return len(packs)


def collect_orphans(
    *, sessions: Sessions, store: ObjectStore, actor: audit.Actor, silent_for: timedelta = SILENT_FOR
) -> Collected:
    """Give up uploads that went silent (their program was killed) and delete what they left in the storage.

    For the worker's role, every few minutes. Two at once do no harm.

    Raises:
        ObjectStoreUnavailable: bytes could not be deleted; the next call tries again.
    """
    with sessions.begin() as session:
        silent = session.scalars(
            sa.select(Batch.id).where(
                Batch.state == BatchState.RECEIVING, Batch.touched_at < _before(silent_for)
            )
        ).all()
    given_up = 0
    for batch_id in silent:
        with sessions.begin() as session:
            given_up += abandon(session, batch_id, actor=actor, why="silent", silent_for=silent_for)
    return Collected(batches=given_up, objects=delete_abandoned(sessions=sessions, store=store))


def _before(ago: timedelta) -> sa.ColumnElement[object]:
    return sa.func.clock_timestamp() - sa.literal(ago)
