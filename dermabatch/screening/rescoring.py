"""Stored images before another model: nothing is taken in again, no outcome changes, and the differences are told."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from threading import Event
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from dermabatch.audit import Actor
from dermabatch.identifiers import new_id
from dermabatch.lifecycle import PREDICTED_STATES, BatchState, ChunkState, Queue, ScreeningState
from dermabatch.schema import Batch, Chunk, Image, Pack, Prediction, Subject
from dermabatch.screening.attempt import Attempt, Means, Tell
from dermabatch.screening.counting import RunReport
from dermabatch.screening.runs import Run, Wish, started
from dermabatch.screening.tables import Rescoring, ScreeningRun
from dermabatch.triage import Triage

_PAGE: Final = 200
MOST_NAMED: Final = 1_000
"""Images that a report names one by one."""


@dataclass(frozen=True, slots=True)
class Change:
    """One image of which two models think differently enough to matter."""

    image_id: UUID
    batch_id: UUID
    before: Triage
    after: Triage


@dataclass(frozen=True, slots=True)
class Comparison:
    """What would change in triage.

    Attributes:
        images: compared so far.
        levels: how many went from one level to another, or stayed; by (before, after).
        changed: the first `MOST_NAMED` that did not stay, urgent ones first.
    """

    images: int
    levels: dict[tuple[Triage, Triage], int]
    changed: tuple[Change, ...]

    def as_json(self) -> dict[str, object]:
        return {
            "images": self.images,
            "changed": sum(count for (before, after), count in self.levels.items() if before != after),
            "levels": [
                {"before": before.value, "after": after.value, "images": count}
                for (before, after), count in sorted(self.levels.items())
            ],
            "named": [
                {
                    "image": str(change.image_id),
                    "batch": str(change.batch_id),
                    "before": change.before.value,
                    "after": change.after.value,
                }
                for change in self.changed
            ],
        }


def rescore(
    wish: Wish, *, means: Means, actor: Actor, stop: Event, tell: Tell = lambda _progress: None
) -> RunReport:
    """Show every stored image of a department that only other models have seen to this one.

    Raises:
        Interrupted: told to stop.
        ServiceUnavailable: storage or database do not answer.
        Conflict: this is being done already.
    """
    with started(wish, sessions=means.sessions, keyring=means.keyring, actor=actor) as run:
        assert run is not None  # nobody schedules it
        attempt = Attempt(run, means=means, actor=actor, stop=stop, tell=tell)
        last: UUID | None = None
        while True:
            with run.writing() as session:
                packs = _unseen_packs(session, run, after=last)
                images = sum(packs.values())
                counted = {
                    "handled": ScreeningRun.handled + images,
                    "rescored": ScreeningRun.rescored + images,
                }
                session.execute(sa.update(ScreeningRun).where(ScreeningRun.id == run.id).values(counted))
                made = show_packs(session, run, packs)
            if not packs:
                break
            last = max(packs)
            means.wake_up.send(made)
            attempt.go_on(listed=images)
        with run.writing(state=ScreeningState.CLASSIFYING, listed_at=sa.func.clock_timestamp()):
            pass
        return attempt.wait_for_workers()


def show_packs(session: Session, run: Run, packs: Iterable[UUID]) -> int:
    """Make a chunk of each pack for the run's model, unless one waits; returns how many were made."""
    batches = {
        pack_id: batch_id
        for pack_id, batch_id in session.execute(
            sa.select(Pack.id, Pack.batch_id).where(Pack.id.in_(set(packs))).order_by(Pack.id)
        )
    }
    if not batches:
        return 0
    made = session.scalars(
        insert(Chunk)
        .on_conflict_do_nothing(
            index_elements=["pack_id", "wanted_model"],
            index_where=sa.text("rescoring AND state IN ('ready', 'running')"),
        )
        .returning(Chunk.id),
        [
            {
                "id": new_id(),
                "department_id": run.department_id,
                "batch_id": batch_id,
                "pack_id": pack_id,
                "queue": Queue.BULK,
                "state": ChunkState.READY,
                "wanted_model": run.model_digest,
                "rescoring": True,
            }
            for pack_id, batch_id in batches.items()
        ],
    ).all()
    if made:
        rows = [{"chunk_id": chunk, "run_id": run.id, "department_id": run.department_id} for chunk in made]
        session.execute(sa.insert(Rescoring), rows)
    return len(made)


def compare(session: Session, run_id: UUID) -> Comparison:
    """What the run's model says of the images that it was shown, beside what stands on their pages."""
    before, after = aliased(Prediction), aliased(Prediction)
    seen = (
        sa.select(Image.id, Image.batch_id, before.triage, after.triage)
        .join(after, after.image_id == Image.id)
        .join(Rescoring, Rescoring.chunk_id == after.chunk_id)
        .join(before, before.id == Image.prediction_id)
        .where(Rescoring.run_id == run_id)
    )
    counted = session.execute(
        seen.with_only_columns(before.triage, after.triage, sa.func.count()).group_by(
            before.triage, after.triage
        )
    )
    levels = Counter({(old, new): count for old, new, count in counted})
    urgency = sa.case({level.value: place for place, level in enumerate(Triage)}, value=after.triage)
    changed = session.execute(
        seen.where(before.triage != after.triage).order_by(urgency, Image.id).limit(MOST_NAMED)
    )
    return Comparison(levels.total(), dict(levels), tuple(Change(*row) for row in changed))


def _unseen_packs(session: Session, run: Run, *, after: UUID | None) -> dict[UUID, int]:
    """The next packs with images that only other models have seen, oldest first, and how many there are in each.

    Those that wait for this model already are not among them.
    """
    model = run.model_digest
    seen = sa.exists().where(Prediction.image_id == Image.id, Prediction.model_digest == model)
    under_way = sa.exists().where(
        Chunk.pack_id == Image.pack_id,
        Chunk.wanted_model == model,
        Chunk.rescoring,
        Chunk.state.in_([ChunkState.READY, ChunkState.RUNNING]),
    )
    query = (
        sa.select(Image.pack_id, sa.func.count())
        .join(Batch, Batch.id == Image.batch_id)
        .outerjoin(Subject, Subject.id == Image.subject_id)
        .where(
            Image.department_id == run.department_id,
            Image.state.in_(PREDICTED_STATES),
            Batch.state.in_([BatchState.ACCEPTED, BatchState.CANCELLED]),
            Subject.erased_at.is_(None),
            ~seen,
            ~under_way,
        )
        .group_by(Image.pack_id)
        .order_by(Image.pack_id)
        .limit(_PAGE)
    )
    page = session.execute(query if after is None else query.where(Image.pack_id > after))
    return {pack_id: count for pack_id, count in page if pack_id is not None}
