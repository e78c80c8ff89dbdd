"""What is known of the files of a source: rows that let a killed screening go on, and the next one skip."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from dermabatch.lifecycle import BatchState, ImageState, ScreenedState
from dermabatch.schema import Batch, Image, Prediction, Subject
from dermabatch.screening.tables import ScreenedFile, ScreeningUpload


@dataclass(frozen=True, slots=True)
class Listed:
    """A file of a listing, by the hash of its place."""

    key_hash: bytes
    version: str | None


@dataclass(frozen=True, slots=True)
class Decision:
    """What was found out about a file by reading it."""

    key_hash: bytes
    state: ScreenedState
    sha256: str | None = None
    reason_code: str | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """What the department has of certain bytes.

    Attributes:
        judged: this model has seen them or is about to, or nobody shall any more.
        packs: where they lie, seen by other models only.
    """

    judged: bool
    packs: tuple[UUID, ...]


UNKNOWN = Content(judged=False, packs=())

# A classified image of an upload that was given up is nobody's: only batches that people see count.
_SEEN_BY_PEOPLE = (BatchState.ACCEPTED, BatchState.CANCELLED)


def find_rows(
    session: Session, department_id: UUID, key_hashes: Collection[bytes]
) -> Mapping[bytes, ScreenedFile]:
    """The rows of these files, as far as there are any."""
    rows = session.scalars(
        sa.select(ScreenedFile).where(
            ScreenedFile.department_id == department_id, ScreenedFile.key_hash.in_(key_hashes)
        )
    )
    return {row.key_hash: row for row in rows}


def find_content(
    session: Session, department_id: UUID, digests: Collection[str], *, model: str
) -> Mapping[str, Content]:
    """What this department has of these bytes, by SHA-256; nothing is shared across departments.

    Args:
        model: digest of the model that is to see them.
    """
    judged = sa.or_(
        Prediction.id.is_not(None),
        Image.state.in_([ImageState.PENDING, ImageState.FAILED, ImageState.REJECTED]),
        # Who was erased stays erased, although the archive has the pictures still.
        Subject.erased_at.is_not(None),
    )
    rows = session.execute(
        sa.select(Image.sha256, sa.func.bool_or(judged), sa.func.array_agg(sa.distinct(Image.pack_id)))
        .join(Batch, Batch.id == Image.batch_id)
        .outerjoin(Prediction, sa.and_(Prediction.image_id == Image.id, Prediction.model_digest == model))
        .outerjoin(Subject, Subject.id == Image.subject_id)
        .where(
            Image.department_id == department_id,
            Image.sha256.in_(digests),
            Image.pack_id.is_not(None),
            Image.state != ImageState.CANCELLED,
            Batch.state.in_(_SEEN_BY_PEOPLE),
        )
        .group_by(Image.sha256)
    )
    return {sha256: Content(judged, tuple(packs)) for sha256, judged, packs in rows if sha256}


def write_plan(
    session: Session, *, run_id: UUID, department_id: UUID, upload_id: UUID, files: Sequence[Listed]
) -> None:
    """Note which files the next upload is to bring, before any of them is read."""
    session.execute(
        sa.insert(ScreeningUpload).values(id=upload_id, department_id=department_id, run_id=run_id)
    )
    _upsert(
        session,
        [
            _row(file, department_id, run_id, ScreenedState.LISTED, sha256=None, upload_id=upload_id)
            for file in files
        ],
    )


def write_rescored(
    session: Session, *, run_id: UUID, department_id: UUID, files: Mapping[bytes, tuple[Listed, str]]
) -> None:
    """Note files whose content is stored already and is shown to this run's model."""
    _upsert(
        session,
        [
            _row(file, department_id, run_id, ScreenedState.RESCORED, sha256=sha256, upload_id=None)
            for file, sha256 in files.values()
        ],
    )


def write_decisions(session: Session, department_id: UUID, decisions: Sequence[Decision]) -> None:
    """Note what reading has told of some files of an upload, before they are handed in."""
    new = sa.values(
        sa.column("key_hash", sa.LargeBinary()),
        sa.column("state", sa.Text()),
        sa.column("sha256", sa.Text()),
        sa.column("reason_code", sa.Text()),
        name="new",
    ).data([(one.key_hash, one.state.value, one.sha256, one.reason_code) for one in decisions])
    session.execute(
        sa.update(ScreenedFile)
        .where(ScreenedFile.department_id == department_id, ScreenedFile.key_hash == new.c.key_hash)
        .values(state=sa.cast(new.c.state, sa.Text()), sha256=new.c.sha256, reason_code=new.c.reason_code)
        .execution_options(synchronize_session=False)
    )


def settle(session: Session, upload_id: UUID) -> None:
    """Every file of an accepted upload gets what became of it; intake may have refused what we had read."""
    outcome = (
        sa.select(
            Image.sha256,
            sa.func.bool_or(Image.pack_id.is_not(None)).label("stored"),
            sa.func.max(Image.reason_code).label("reason_code"),
        )
        .where(Image.batch_id == upload_id, Image.sha256.is_not(None))
        .group_by(Image.sha256)
        .subquery()
    )
    session.execute(
        sa.update(ScreenedFile)
        .where(
            ScreenedFile.upload_id == upload_id,
            ScreenedFile.state == ScreenedState.LISTED,
            ScreenedFile.sha256 == outcome.c.sha256,
        )
        .values(
            state=sa.case((outcome.c.stored, ScreenedState.TAKEN_IN), else_=ScreenedState.REFUSED),
            reason_code=sa.case((outcome.c.stored, None), else_=outcome.c.reason_code),
        )
        .execution_options(synchronize_session=False)
    )
    _close(session, upload_id)


def release(session: Session, upload_id: UUID) -> None:
    """The upload came to nothing: its files are found by the next listing, as if they were new."""
    lost = (ScreenedState.LISTED, ScreenedState.REFUSED, ScreenedState.UNREADABLE)
    session.execute(
        sa.update(ScreenedFile)
        .where(ScreenedFile.upload_id == upload_id, ScreenedFile.state.in_(lost))
        .values(state=ScreenedState.LISTED, sha256=None, reason_code=None)
        .execution_options(synchronize_session=False)
    )
    _close(session, upload_id)


def _close(session: Session, upload_id: UUID) -> None:
    session.execute(sa.update(ScreeningUpload).where(ScreeningUpload.id == upload_id).values(settled=True))


def _row(
    file: Listed,
    department_id: UUID,
    run_id: UUID,
    state: ScreenedState,
    *,
    sha256: str | None,
    upload_id: UUID | None,
) -> dict[str, object]:
    return {
        "department_id": department_id,
        "key_hash": file.key_hash,
        "version": file.version,
        "sha256": sha256,
        "state": state,
        "reason_code": None,
        "run_id": run_id,
        "upload_id": upload_id,
    }


def _upsert(session: Session, rows: Sequence[Mapping[str, object]]) -> None:
    new = insert(ScreenedFile)
    columns = ("version", "sha256", "state", "reason_code", "run_id", "upload_id")
    session.execute(
        new.on_conflict_do_update(
            index_elements=["department_id", "key_hash"],
            set_={name: new.excluded[name] for name in columns},
        ),
        rows,
    )
