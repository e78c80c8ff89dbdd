"""What people decide about a batch: cancel it, or try its failed images again."""

from collections import defaultdict
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dermabatch.audit import Action, Actor, Event, Outcome, append
from dermabatch.errors import Conflict, NotFound
from dermabatch.identifiers import new_id
from dermabatch.lifecycle import BatchState, ChunkState, ImageState
from dermabatch.schema import Batch, Chunk, Image


def cancel_batch(session: Session, batch_id: UUID, *, actor: Actor) -> int:
    """Stop what has not been classified yet; returns how many images that were. What is classified stays.

    Raises:
        NotFound: no such batch in this department.
        Conflict: the batch is still being received, or has ended another way.
    """
    batch = _locked_batch(session, batch_id, doing="cancelled")
    batch.state = BatchState.CANCELLED
    batch.cancelled_at = sa.func.clock_timestamp()
    session.flush()
    cancelled = stop_work(session, batch_id)
    _append(session, batch, Action.BATCH_CANCEL, actor, cancelled)
    return cancelled


def stop_work(session: Session, batch_id: UUID) -> int:
    """Cancel every chunk and image of a batch that has no outcome yet; returns how many images that were.

    The caller holds the lock of the batch.
    """
    session.execute(
        sa.update(Chunk)
        .where(Chunk.batch_id == batch_id, Chunk.state.in_([ChunkState.READY, ChunkState.RUNNING]))
        # Raising the number is what stops a worker that is in the middle of it.
        .values(state=ChunkState.CANCELLED, lease_until=None, lease_no=Chunk.lease_no + 1)
    )
    cancelled = session.scalars(
        sa.update(Image)
        .where(Image.batch_id == batch_id, Image.state == ImageState.PENDING)
        .values(state=ImageState.CANCELLED)
        .returning(Image.id)
    ).all()
    return len(cancelled)


def retry_batch(session: Session, batch_id: UUID, *, actor: Actor) -> int:
    """Work on the failed images again, in quarantine; returns how many there are.

    Raises:
        NotFound: no such batch in this department.
        Conflict: the batch is still being received, was cancelled or abandoned.
    """
    batch = _locked_batch(session, batch_id, doing="retried")
    failed: dict[tuple[UUID, str | None], list[UUID]] = defaultdict(list)
    rows = session.execute(
        sa.select(Image.pack_id, Chunk.wanted_model, Image.id)
        .join(Chunk, Chunk.id == Image.chunk_id)
        .where(Image.batch_id == batch_id, Image.state == ImageState.FAILED)
        .order_by(Image.ordinal)
        .with_for_update(of=Image)
    )
    for pack_id, wanted_model, image_id in rows:
        assert pack_id is not None  # a failed image has its bytes
        failed[pack_id, wanted_model].append(image_id)
    for (pack_id, wanted_model), image_ids in failed.items():
        _new_chunk(session, batch, pack_id, wanted_model, image_ids)
    count = sum(len(image_ids) for image_ids in failed.values())
    _append(session, batch, Action.BATCH_RETRY, actor, count)
    return count


def _locked_batch(session: Session, batch_id: UUID, *, doing: str) -> Batch:
    batch = session.scalar(sa.select(Batch).where(Batch.id == batch_id).with_for_update(of=Batch))
    if batch is None:
        raise NotFound(f"There is no batch {batch_id} in this department.")
    if batch.state is not BatchState.ACCEPTED:
        raise Conflict(f"Only an accepted batch can be {doing}. This one is {batch.state}.")
    return batch


def _new_chunk(
    session: Session, batch: Batch, pack_id: UUID, wanted_model: str | None, image_ids: list[UUID]
) -> None:
    chunk = Chunk(
        id=new_id(),
        department_id=batch.department_id,
        batch_id=batch.id,
        pack_id=pack_id,
        queue=batch.queue,
        state=ChunkState.READY,
        isolated=True,
        wanted_model=wanted_model,
    )
    session.add(chunk)
    session.flush()
    session.execute(
        sa.update(Image)
        .where(Image.id.in_(image_ids))
        .values(state=ImageState.PENDING, reason_code=None, reason=None, stops=0, chunk_id=chunk.id)
    )


def _append(session: Session, batch: Batch, action: Action, actor: Actor, images: int) -> None:
    append(
        session,
        Event(
            action=action,
            outcome=Outcome.SUCCESS,
            actor=actor,
            department_id=batch.department_id,
            object_type="batch",
            object_id=str(batch.id),
            details={"images": images},
        ),
    )
