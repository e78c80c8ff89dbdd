"""The figures of a run, each from rows, and whether they add up."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dermabatch.errors import ConservationBroken
from dermabatch.lifecycle import BatchState, ChunkState, ImageState, ScreenedState, ScreeningState
from dermabatch.schema import Batch, Chunk, Image, Prediction
from dermabatch.screening.tables import Rescoring, ScreenedFile, ScreeningRun, ScreeningUpload, SourceKind
from dermabatch.triage import Triage


@dataclass(frozen=True, slots=True)
class FileCounts:
    """What became of the files that a run has looked at.

    `listed = skipped + taken_in + rescored + refused + unreadable`, where `listed` was counted by the listing itself.
    """

    listed: int
    skipped: int
    taken_in: int
    rescored: int
    refused: int
    unreadable: int

    @property
    def difference(self) -> int:
        """Files that were listed and not accounted for: 0 once everything is listed and settled."""
        accounted = self.skipped + self.taken_in + self.rescored + self.refused + self.unreadable
        return self.listed - accounted

    def line(self) -> str:
        """For people."""
        counts = asdict(self)
        listed = counts.pop("listed")
        parts = " + ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
        return f"{listed} listed = {parts}; difference {self.difference}"


@dataclass(frozen=True, slots=True)
class RunReport:
    """A run as it stands.

    Attributes:
        files: of the source.
        reasons: how many files were refused or unreadable, by code.
        images: taken in by this run, by state.
        triage: what this run's predictions say, of images taken in and of those that were shown to its model again.
        outstanding: images that workers have still to look at.
        models: how many of its predictions each model made.
    """

    run_id: UUID
    name: str | None
    night: str | None
    source: SourceKind
    state: ScreeningState
    stopped_by: str | None
    cut_short: str | None
    model: str
    pinned: bool
    starts: int
    deadline: datetime | None
    started_at: datetime
    listed_at: datetime | None
    completed_at: datetime | None
    files: FileCounts
    reasons: dict[str, int]
    images: dict[str, int]
    triage: dict[str, int]
    models: dict[str, int]
    outstanding: int

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "difference": self.files.difference}


def report_of(session: Session, run_id: UUID) -> RunReport:
    """Everything that is counted of one run. While it is listing, from the rows of its files."""
    row = session.get_one(ScreeningRun, run_id, populate_existing=True)
    return RunReport(
        run_id=row.id,
        name=row.name,
        night=row.night.isoformat() if row.night else None,
        source=row.source,
        state=row.state,
        stopped_by=row.stopped_by,
        cut_short=row.cut_short,
        model=row.model_digest,
        pinned=row.pinned,
        starts=row.starts,
        deadline=row.deadline,
        started_at=row.started_at,
        listed_at=row.listed_at,
        completed_at=row.completed_at,
        files=_files(session, row),
        reasons=row.reasons if _is_settled(row) else _reasons(session, run_id),
        images=_images(session, run_id),
        triage=_predictions(session, run_id, Prediction.triage, [level.value for level in Triage]),
        models=_predictions(session, run_id, Prediction.model_digest, []),
        outstanding=outstanding(session, run_id),
    )


def file_counts(session: Session, run_id: UUID) -> FileCounts:
    """What became of the files of a run so far."""
    return _files(session, session.get_one(ScreeningRun, run_id, populate_existing=True))


def settled_figures(session: Session, run_id: UUID) -> dict[str, Any]:
    """The columns that a run keeps of its files once everything is listed: later runs may take the rows over.

    Raises:
        ConservationBroken: a file that was listed has no row, or two. A bug.
    """
    row = session.get_one(ScreeningRun, run_id, populate_existing=True)
    counts = _by_state(session, run_id)
    if row.handled != counts.total:
        raise ConservationBroken(
            f"Expected a row for each of {row.handled} files that were looked at. Found: {counts.total}."
        )
    return {**counts.settled, "reasons": _reasons(session, run_id)}


def outstanding(session: Session, run_id: UUID) -> int:
    """Images that were taken in or shown to a model by this run and have no answer yet."""
    waiting = (
        sa.select(sa.func.count())
        .select_from(Image)
        .where(Image.batch_id.in_(_batches(run_id)), Image.state == ImageState.PENDING)
    )
    unfinished = sa.select(Chunk.pack_id).join(Rescoring, Rescoring.chunk_id == Chunk.id)
    unfinished = unfinished.where(
        Rescoring.run_id == run_id, Chunk.state.in_([ChunkState.READY, ChunkState.RUNNING])
    )
    shown = sa.select(sa.func.count()).select_from(Image).where(Image.pack_id.in_(unfinished))
    return (session.scalar(waiting) or 0) + (session.scalar(shown) or 0)


@dataclass(frozen=True, slots=True)
class _Counts:
    settled: dict[str, int]
    unsettled: int

    @property
    def total(self) -> int:
        return sum(self.settled.values()) + self.unsettled


def _is_settled(row: ScreeningRun) -> bool:
    return row.state in (ScreeningState.CLASSIFYING, ScreeningState.COMPLETED)


def _files(session: Session, row: ScreeningRun) -> FileCounts:
    columns = ("skipped", "taken_in", "rescored", "refused", "unreadable")
    settled = {name: getattr(row, name) for name in columns}
    if not _is_settled(row) and row.source is not SourceKind.STORED:
        settled = _by_state(session, row.id).settled
    settled["skipped"] += row.known
    return FileCounts(listed=row.known + row.handled, **settled)


def _by_state(session: Session, run_id: UUID) -> _Counts:
    rows = session.execute(
        sa.select(ScreenedFile.state, sa.func.count())
        .where(ScreenedFile.run_id == run_id)
        .group_by(ScreenedFile.state)
    )
    counts = dict.fromkeys(ScreenedState, 0) | {state: count for state, count in rows}
    unsettled = counts.pop(ScreenedState.LISTED)
    return _Counts({state.value: count for state, count in counts.items()}, unsettled)


def _reasons(session: Session, run_id: UUID) -> dict[str, int]:
    rows = session.execute(
        sa.select(ScreenedFile.reason_code, sa.func.count())
        .where(ScreenedFile.run_id == run_id, ScreenedFile.reason_code.is_not(None))
        .group_by(ScreenedFile.reason_code)
        .order_by(ScreenedFile.reason_code)
    )
    return {str(code): count for code, count in rows}


def _batches(run_id: UUID) -> sa.Select[UUID]:
    """Of a run. Some images of an upload that broke off may have been classified; they are nobody's."""
    return (
        sa.select(Batch.id)
        .join(ScreeningUpload, ScreeningUpload.id == Batch.id)
        .where(ScreeningUpload.run_id == run_id, Batch.state != BatchState.ABANDONED)
    )


def _images(session: Session, run_id: UUID) -> dict[str, int]:
    rows = session.execute(
        sa.select(Image.state, sa.func.count())
        .where(Image.batch_id.in_(_batches(run_id)), Image.pack_id.is_not(None))
        .group_by(Image.state)
    )
    return {state.value: 0 for state in ImageState} | {state.value: count for state, count in rows}


def _predictions(session: Session, run_id: UUID, column: Any, values: list[str]) -> dict[str, int]:
    chunks = sa.union_all(
        sa.select(Rescoring.chunk_id).where(Rescoring.run_id == run_id),
        sa.select(Chunk.id).where(Chunk.batch_id.in_(_batches(run_id)), ~Chunk.rescoring),
    )
    rows = session.execute(
        sa.select(column, sa.func.count()).where(Prediction.chunk_id.in_(chunks)).group_by(column)
    )
    return dict.fromkeys(values, 0) | {str(value): count for value, count in rows}
