"""The one way in: an upload becomes a batch, or nothing at all."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects.postgresql import insert

from dermabatch import audit
from dermabatch.database import Sessions
from dermabatch.errors import Conflict, ConservationBroken, DatabaseUnavailable, DermabatchError, EmptyBatch
from dermabatch.identifiers import new_id
from dermabatch.intake.abandonment import abandon, delete_abandoned
from dermabatch.intake.budget import Budget
from dermabatch.intake.incoming import Incoming, Received
from dermabatch.intake.judging import Judge, ReadsDicom
from dermabatch.intake.metadata import Metadata
from dermabatch.intake.packing import PackWriter
from dermabatch.intake.storing import PackStorage, touch
from dermabatch.intake.unpacking import unpack
from dermabatch.lifecycle import BatchState, Queue
from dermabatch.objects import ObjectStore
from dermabatch.queue import WakeUp
from dermabatch.schema import Batch, Image
from dermabatch.settings import Settings
from dermabatch.subjects import KeyRing

log = structlog.get_logger(__name__)


class Submitter(Protocol):
    """Who hands in: a `schema.User`, or anything that knows as much."""

    id: UUID
    department_id: UUID


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The answer to an upload.

    Attributes:
        batch_id: the new batch.
        received: files that the stream brought, and lines of the CSV that named none of them.
        stored: pictures that wait to be classified.
        rejected: the others; each has a row with its reason.
        repeated: this is the first answer again, to an upload with the same idempotency key.
    """

    batch_id: UUID
    received: int
    stored: int
    rejected: int
    repeated: bool = False


def accept_upload(
    *,
    files: Iterable[Incoming],
    metadata: Metadata | None,
    submitter: Submitter,
    actor: audit.Actor,
    queue: Queue,
    idempotency_key: str | None,
    sessions: Sessions,
    store: ObjectStore,
    keyring: KeyRing,
    wake_up: WakeUp,
    decoders: ReadsDicom,
    settings: Settings,
) -> Acceptance:
    """Take in an upload: every file gets its row, every good picture its bytes in the storage.

    What is wrong with a file is an outcome of that file. Whatever ends the upload itself (a broken connection, a
    storage that does not answer, a quota) leaves nothing that looks like a batch.

    Args:
        files: in order; read one after the other.
        metadata: the CSV that came beside them.
        actor: the submitter, as the audit trail is to name it.
        idempotency_key: the same key from the same person means the same upload, which is accepted once.
        sessions: of a role that may write batches; the submitter's department is set here.

    Raises:
        EmptyBatch: no file came.
        QuotaExceeded: more files or bytes came out than one upload may bring.
        Conflict: the same upload is still being received, or this one was given up because it went silent.
        ServiceUnavailable: the storage or the decoders do not answer; the upload may be repeated.
    """
    batch_id = new_id()
    try:
        batch = _open_batch(batch_id, sessions, keyring, submitter, queue, idempotency_key)
    except DatabaseUnavailable as error:
        # Perhaps it was opened and only the answer to the commit was lost: the key must be free for a repetition.
        _leave_nothing(batch_id, submitter.department_id, error, actor, sessions, store)
        raise
    if batch is None:
        return _first_answer(sessions, submitter, idempotency_key)
    budget = Budget(
        max_files=settings.max_upload_files,
        max_bytes=settings.max_upload_bytes,
        max_file_bytes=settings.max_file_bytes,
    )
    storage = PackStorage(batch, actor=actor, sessions=sessions, store=store, keyring=keyring)
    try:
        judge = Judge(metadata, decoders)
        received = 0
        with PackWriter(storage, pack_images=settings.pack_images, wake_up=wake_up) as packs:
            for file in _stream(files, judge, budget):
                # The stream's own count: whatever happens to a file below, it has come.
                received += 1
                packs.add(judge.judge(received - 1, file))
            packs.finish()
        acceptance = _accept(batch, received, actor, sessions)
    except BaseException as error:
        _leave_nothing(batch.id, batch.department_id, error, actor, sessions, store)
        raise
    wake_up.send(packs.packs)
    return acceptance


def _stream(files: Iterable[Incoming], judge: Judge, budget: Budget) -> Iterator[Received]:
    """Every file, and then every line of the CSV that names none of them: each is something that was handed in."""
    empty = True
    for file in unpack(files, budget):
        empty = False
        yield file
    if empty:
        raise EmptyBatch("Expected at least one file. Received: none.")
    yield from judge.left_over()


def _open_batch(
    batch_id: UUID,
    sessions: Sessions,
    keyring: KeyRing,
    submitter: Submitter,
    queue: Queue,
    idempotency_key: str | None,
) -> Batch | None:
    """The batch of a new upload; None where this person's upload with this key is there already."""
    new_batch = (
        insert(Batch)
        .values(
            id=batch_id,
            department_id=submitter.department_id,
            submitted_by=submitter.id,
            queue=queue,
            state=BatchState.RECEIVING,
            wrapped_key=keyring.new_wrapped_key(batch_id),
            idempotency_key=idempotency_key,
        )
        .on_conflict_do_nothing(
            index_elements=["department_id", "submitted_by", "idempotency_key"],
            index_where=sa.text("state <> 'abandoned'"),
        )
        .returning(Batch)
    )
    with sessions.begin(department=submitter.department_id) as session:
        return session.scalar(new_batch)


def _first_answer(sessions: Sessions, submitter: Submitter, idempotency_key: str | None) -> Acceptance:
    with sessions.begin(department=submitter.department_id) as session:
        batch = session.scalar(
            sa.select(Batch).where(
                Batch.department_id == submitter.department_id,
                Batch.submitted_by == submitter.id,
                Batch.idempotency_key == idempotency_key,
                Batch.state != BatchState.ABANDONED,
            )
        )
        if batch is None or batch.state is BatchState.RECEIVING:
            raise Conflict(
                "An upload with this idempotency key is still being received. Repeat the request in a few seconds."
            )
        stored = session.scalar(
            sa.select(sa.func.count()).where(Image.batch_id == batch.id, Image.pack_id.is_not(None))
        )
    return _acceptance(batch.id, batch.received, stored or 0, repeated=True)


def _accept(batch: Batch, received: int, actor: audit.Actor, sessions: Sessions) -> Acceptance:
    """The moment from which the batch exists for everybody.

    Raises:
        ConservationBroken: a file has no row, or two. A bug; the upload is not accepted.
    """
    with sessions.begin(department=batch.department_id) as session:
        touch(session, batch.id, received=received)
        rows, stored = session.execute(
            sa.select(sa.func.count(), sa.func.count(Image.pack_id)).where(Image.batch_id == batch.id)
        ).one()
        if rows != received:
            raise ConservationBroken(f"Expected a row for each of {received} files received. Found: {rows}.")
        session.execute(
            sa.update(Batch)
            .where(Batch.id == batch.id)
            .values(state=BatchState.ACCEPTED, accepted_at=sa.func.clock_timestamp())
        )
        acceptance = _acceptance(batch.id, received, stored)
        audit.append(
            session,
            audit.Event(
                audit.Action.BATCH_UPLOAD,
                audit.Outcome.SUCCESS,
                actor=actor,
                department_id=batch.department_id,
                object_type="batch",
                object_id=str(batch.id),
                details={
                    "received": received,
                    "stored": stored,
                    "rejected": acceptance.rejected,
                    "queue": batch.queue,
                },
            ),
        )
    return acceptance


def _acceptance(batch_id: UUID, received: int, stored: int, *, repeated: bool = False) -> Acceptance:
    return Acceptance(batch_id, received, stored, received - stored, repeated)


def _leave_nothing(
    batch_id: UUID,
    department_id: UUID,
    error: BaseException,
    actor: audit.Actor,
    sessions: Sessions,
    store: ObjectStore,
) -> None:
    """Give the upload up. If not even that works, the scheduler does it once the upload has been silent long enough."""
    why = error.code if isinstance(error, DermabatchError) else type(error).__name__
    try:
        with sessions.begin(department=department_id) as session:
            abandon(session, batch_id, actor=actor, why=why)
        delete_abandoned(sessions=sessions, store=store, department=department_id, batch_id=batch_id)
    except (DermabatchError, sa.exc.SQLAlchemyError) as second:
        log.warning("upload_left_behind", batch=str(batch_id), error=type(second).__name__)
