"""The one way in: an upload becomes a batch, or nothing at all."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from dermabatch import audit
from dermabatch.database import Sessions
from dermabatch.errors import (
    Conflict,
    ConservationBroken,
    DatabaseUnavailable,
    DermabatchError,
    EmptyBatch,
    KeyUsedBefore,
)
from dermabatch.identifiers import new_id
from dermabatch.intake.abandonment import abandon, delete_abandoned
from dermabatch.intake.budget import Budget
from dermabatch.intake.incoming import Incoming, Received, ReceivedFile
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
    batch_id: UUID | None = None,
    wanted_model: str | None = None,
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
        batch_id: of the new batch, where the caller must find it again after being killed.
        wanted_model: digest of the model that is to serve this batch; None takes the active one at each claim.

    Raises:
        EmptyBatch: no file came.
        QuotaExceeded: more files or bytes came out than one upload may bring.
        Conflict: the same upload is still being received, or this one was given up because it went silent.
        KeyUsedBefore: the idempotency key came with other files before.
        ServiceUnavailable: the storage or the decoders do not answer; the upload may be repeated.
    """
    if idempotency_key is not None:
        # Somebody may have taken a file's name or a patient's number for it, and it is kept readable.
        idempotency_key = keyring.lookup_hash(submitter.department_id, f"upload {idempotency_key}").hex()
    batch_id = batch_id or new_id()
    try:
        batch = _open_batch(batch_id, sessions, keyring, submitter, queue, idempotency_key)
    except DatabaseUnavailable as error:
        # Perhaps it was opened and only the answer to the commit was lost: the key must be free for a repetition.
        _leave_nothing(batch_id, submitter.department_id, error, actor, sessions, store)
        raise
    budget = Budget(
        max_files=settings.max_upload_files,
        max_bytes=settings.max_upload_bytes,
        max_file_bytes=settings.max_file_bytes,
    )
    if batch is None:
        return _first_answer(_digests(unpack(files, budget)), sessions, submitter, idempotency_key, actor)
    storage = PackStorage(
        batch, actor=actor, sessions=sessions, store=store, keyring=keyring, wanted_model=wanted_model
    )
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


def _digests(files: Iterable[Received]) -> list[str]:
    """By which it is seen whether the same files came again, whatever their order and their names."""
    return sorted(hashlib.sha256(file.data).hexdigest() for file in files if isinstance(file, ReceivedFile))


def _first_answer(
    digests: list[str],
    sessions: Sessions,
    submitter: Submitter,
    idempotency_key: str | None,
    actor: audit.Actor,
) -> Acceptance:
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
        first = session.execute(
            sa.select(Image.sha256, Image.pack_id.is_not(None)).where(Image.batch_id == batch.id)
        ).all()
        if digests != sorted(digest for digest, _ in first if digest is not None):
            raise KeyUsedBefore(
                "Expected the files that this idempotency key was used with before. Received: others. Nothing of them"
                " was stored: hand them in under a key of their own."
            )
        stored = sum(is_stored for _, is_stored in first)
        acceptance = _acceptance(batch.id, batch.received, stored, repeated=True)
        _note(session, batch, acceptance, actor)
    return acceptance


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
        _note(session, batch, acceptance, actor)
    return acceptance


def _note(session: Session, batch: Batch, acceptance: Acceptance, actor: audit.Actor) -> None:
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
                "received": acceptance.received,
                "stored": acceptance.stored,
                "rejected": acceptance.rejected,
                "queue": batch.queue,
                "repeated": acceptance.repeated,
            },
        ),
    )


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
