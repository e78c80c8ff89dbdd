"""Claim a chunk, keep it, give it back."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dermabatch.clinical import Clinical
from dermabatch.lifecycle import PREDICTED_STATES, ChunkState, ImageState, Queue
from dermabatch.schema import Batch, Chunk, Image, Pack, Prediction, Subject


@dataclass(frozen=True, slots=True)
class ClaimedImage:
    """One image of a claimed chunk that still wants its outcome."""

    id: UUID
    offset: int
    """Of its ciphertext in the pack, in bytes."""
    length: int
    orientation: int
    """EXIF orientation, 1 to 8."""
    stops: int
    clinical: Clinical
    """What the batch brought with it; it goes to the model and nowhere else."""
    key_owner: UUID
    """The patient, or the batch where no patient is known."""
    wrapped_key: bytes | None
    """None: the patient was erased, nobody can read this image."""

    @property
    def erased(self) -> bool:
        return self.wrapped_key is None


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to record one chunk, until the lease ends or somebody raises its number."""

    chunk_id: UUID
    lease_no: int
    batch_id: UUID
    department_id: UUID
    queue: Queue
    isolated: bool
    """Its last holder vanished: work image by image in quarantine."""
    model_digest: str
    rescoring: bool
    """Its images have their outcome already; only predictions are added."""
    object_key: str
    pack_sha256: str
    images: tuple[ClaimedImage, ...]


# The best chunk: interactive before bulk, then the batch with the fewest chunks running, then the oldest.
# SKIP LOCKED: rivals pick another chunk instead of waiting for this one.
_CLAIM = sa.text("""
    WITH busy AS (
        SELECT batch_id, count(*) FILTER (WHERE state = 'running') AS running
        FROM chunks WHERE state IN ('ready', 'running') GROUP BY batch_id
    ), best AS (
        SELECT chunks.id FROM chunks JOIN busy USING (batch_id)
        WHERE chunks.state = 'ready'
          AND (chunks.not_before IS NULL OR chunks.not_before <= clock_timestamp())
          AND (:allow_bulk OR chunks.queue = 'interactive')
          AND (chunks.wanted_model IS NULL OR chunks.wanted_model <> ALL (:unservable))
        ORDER BY chunks.queue = 'bulk', busy.running, chunks.id
        LIMIT 1 FOR UPDATE OF chunks SKIP LOCKED
    )
    UPDATE chunks
    SET state = 'running', lease_no = lease_no + 1, claimed_by = :worker,
        model_digest = coalesce(chunks.wanted_model, :model_digest),
        lease_until = clock_timestamp() + make_interval(secs => :lease_seconds)
    FROM best WHERE chunks.id = best.id
    RETURNING chunks.id
""")


def claim(
    session: Session,
    *,
    worker: str,
    model_digest: str,
    allow_bulk: bool,
    lease_seconds: float,
    unservable: Collection[str] = (),
) -> Claim | None:
    """Take the best chunk that waits; None where nothing does. Commit before working on it.

    Args:
        session: of the worker's role, in a transaction of its own.
        worker: name of the claiming process, for people who look.
        model_digest: the model that will serve the whole chunk, unless the chunk wants another one.
        allow_bulk: False keeps this slot free for staff who wait.
        lease_seconds: for how long the claim holds unless it is renewed.
        unservable: digests of models that this worker cannot load; chunks that want them are left to others.
    """
    chunk_id: UUID | None = session.scalar(
        _CLAIM,
        {
            "worker": worker,
            "model_digest": model_digest,
            "allow_bulk": allow_bulk,
            "lease_seconds": lease_seconds,
            "unservable": list(unservable),
        },
    )
    return None if chunk_id is None else _read_claim(session, chunk_id)


def renew(session: Session, claim: Claim, *, lease_seconds: float) -> bool:
    """Extend the lease; False where the chunk is no longer ours."""
    renewed = session.scalar(
        sa.update(Chunk)
        .where(*held_by(claim))
        .values(lease_until=_in_seconds(lease_seconds))
        .returning(Chunk.id)
    )
    return renewed is not None


def release(session: Session, claim: Claim, *, after_seconds: float = 0) -> bool:
    """Give the chunk back unharmed, to be claimed again after a pause; False where it is no longer ours.

    For troubles that lie outside the chunk: storage that does not answer, a worker that is told to stop.
    """
    released = session.scalar(
        sa.update(Chunk)
        .where(*held_by(claim))
        .values(state=ChunkState.READY, lease_until=None, not_before=_in_seconds(after_seconds))
        .returning(Chunk.id)
    )
    return released is not None


def let_lapse(session: Session, claim: Claim) -> bool:
    """End the lease now, as if its holder had vanished; False where the chunk is no longer ours.

    For troubles that the chunk itself may have caused: the sweeper returns it in quarantine, later each time.
    """
    return renew(session, claim, lease_seconds=0)


def held_by(claim: Claim) -> tuple[sa.ColumnElement[bool], ...]:
    """The condition under which the holder of a claim may still write."""
    return (
        Chunk.id == claim.chunk_id,
        Chunk.lease_no == claim.lease_no,
        Chunk.state == ChunkState.RUNNING,
    )


def _in_seconds(seconds: float) -> sa.ColumnElement[datetime]:
    return sa.func.clock_timestamp() + timedelta(seconds=seconds)


def _read_claim(session: Session, chunk_id: UUID) -> Claim:
    chunk, pack, batch_key = session.execute(
        sa.select(Chunk, Pack, Batch.wrapped_key)
        .join(Pack, Pack.id == Chunk.pack_id)
        .join(Batch, Batch.id == Chunk.batch_id)
        .where(Chunk.id == chunk_id)
        .execution_options(populate_existing=True)
    ).one()
    assert chunk.model_digest is not None
    rows = session.execute(
        sa.select(Image, Subject.wrapped_key)
        .outerjoin(Subject, Subject.id == Image.subject_id)
        .where(*_to_look_at(chunk))
        .order_by(Image.ordinal)
    )
    return Claim(
        chunk_id=chunk.id,
        lease_no=chunk.lease_no,
        batch_id=chunk.batch_id,
        department_id=chunk.department_id,
        queue=chunk.queue,
        isolated=chunk.isolated,
        model_digest=chunk.model_digest,
        rescoring=chunk.rescoring,
        object_key=pack.object_key,
        pack_sha256=pack.sha256,
        images=tuple(_claimed(image, subject_key, batch_key) for image, subject_key in rows),
    )


def _to_look_at(chunk: Chunk) -> tuple[sa.ColumnElement[bool], ...]:
    if not chunk.rescoring:
        return Image.chunk_id == chunk.id, Image.state == ImageState.PENDING
    seen = sa.exists().where(Prediction.image_id == Image.id, Prediction.model_digest == chunk.model_digest)
    readable = sa.or_(Image.subject_id.is_(None), Subject.wrapped_key.is_not(None))
    return Image.pack_id == chunk.pack_id, Image.state.in_(PREDICTED_STATES), ~seen, readable


def _claimed(image: Image, subject_key: bytes | None, batch_key: bytes) -> ClaimedImage:
    # The constraint never_a_row_without_its_bytes holds for every pending image.
    assert image.pack_offset is not None
    assert image.pack_length is not None
    return ClaimedImage(
        id=image.id,
        offset=image.pack_offset,
        length=image.pack_length,
        orientation=image.orientation,
        stops=image.stops,
        clinical=Clinical(age=image.age, sex=image.sex, localization=image.localization),
        key_owner=image.subject_id or image.batch_id,
        wrapped_key=subject_key if image.subject_id else batch_key,
    )
