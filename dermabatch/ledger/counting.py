"""Conservation: every received file is in exactly one state, and the sum is what the stream counted."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dermabatch.lifecycle import BatchState, ImageState
from dermabatch.schema import Batch, Image


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """Where the files of a batch are."""

    received: int = 0
    classified: int = 0
    unassessable: int = 0
    rejected: int = 0
    failed: int = 0
    cancelled: int = 0
    pending: int = 0

    @property
    def accounted(self) -> int:
        """Files that have a row."""
        return (
            self.classified + self.unassessable + self.rejected + self.failed + self.cancelled + self.pending
        )

    @property
    def difference(self) -> int:
        """Files received but not accounted for; 0 once a batch is accepted."""
        return self.received - self.accounted

    @property
    def finished(self) -> int:
        """Files that will not change by themselves any more."""
        return self.accounted - self.pending

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return self.pending == 0

    def states(self) -> dict[str, int]:
        """Every state with its count, in the order of `ImageState`."""
        return {state.value: getattr(self, state.value) for state in ImageState}


@dataclass(frozen=True, slots=True)
class Conservation:
    """The conservation line of everything that was accepted."""

    batches: int
    total: BatchCounts
    wrong_batches: tuple[UUID, ...]
    """Batches whose own counts do not add up; two errors may hide each other in the total."""

    @property
    def holds(self) -> bool:
        return not self.wrong_batches and self.total.difference == 0

    def line(self) -> str:
        """As `doctor` prints it."""
        states = " + ".join(f"{count} {state}" for state, count in self.total.states().items())
        return f"{self.total.received} received = {states}; difference {self.total.difference}"


def counts(session: Session, batch_id: UUID) -> BatchCounts:
    """The counts of one batch; all zero where there is none."""
    return counts_of(session, [batch_id]).get(batch_id, BatchCounts())


def counts_of(session: Session, batch_ids: Sequence[UUID]) -> dict[UUID, BatchCounts]:
    """The counts of many batches in one query."""
    return _counted(session, Batch.id.in_(batch_ids))


def conservation(session: Session) -> Conservation:
    """Add up every accepted or cancelled batch that this session sees."""
    by_batch = _counted(session, Batch.state.in_([BatchState.ACCEPTED, BatchState.CANCELLED]))
    names = ("received", *(state.value for state in ImageState))
    total = BatchCounts(**{name: sum(getattr(batch, name) for batch in by_batch.values()) for name in names})
    wrong = tuple(batch_id for batch_id, batch in by_batch.items() if batch.difference)
    return Conservation(len(by_batch), total, wrong)


def _counted(session: Session, which: sa.ColumnElement[bool]) -> dict[UUID, BatchCounts]:
    rows = session.execute(
        sa.select(
            Batch.id,
            Batch.received,
            *(
                sa.func.count(Image.id).filter(Image.state == state).label(state.value)
                for state in ImageState
            ),
        )
        .outerjoin(Image, Image.batch_id == Batch.id)
        .where(which)
        .group_by(Batch.id)
    )
    return {
        row.id: BatchCounts(
            received=row.received, **{state.value: getattr(row, state.value) for state in ImageState}
        )
        for row in rows
    }
