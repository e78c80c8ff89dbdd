"""Record what became of a chunk: all of it, once, and only by its present holder."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dermabatch.audit import Action, Actor, Event, append
from dermabatch.audit import Outcome as AuditOutcome
from dermabatch.errors import LeaseLost
from dermabatch.identifiers import new_id
from dermabatch.ledger.claiming import Claim, held_by
from dermabatch.lifecycle import ChunkState, ImageState
from dermabatch.schema import Chunk, Image, Prediction
from dermabatch.triage import Assessment, Triage

MAX_STOPS = 3
"""An image fails only after stopping its quarantine process this often: once or twice may be bad luck."""


@dataclass(frozen=True, slots=True)
class Predicted:
    """The image was decoded and the model spoke."""

    image_id: UUID
    assessment: Assessment
    quality: Mapping[str, Any]
    derived_index: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The full decode found what intake could not: the file is not an image we can judge."""

    image_id: UUID
    reason_code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The image stopped its quarantine process three times."""

    image_id: UUID
    reason_code: str
    reason: str


Outcome = Predicted | Refused | Failed


def record(
    session: Session,
    claim: Claim,
    outcomes: Sequence[Outcome],
    *,
    engine: str,
    preprocessing_version: str,
    derived_key: str,
    actor: Actor,
) -> None:
    """Write every outcome of the chunk and finish it. Commit right after.

    Args:
        session: of the worker's role, in a transaction of its own.
        claim: the right to do so.
        outcomes: exactly one for each image of the claim.
        engine: which engine spoke, such as `openvino-fp32`.
        preprocessing_version: see `dermabatch.imaging.preprocess`.
        derived_key: object that holds the thumbnails and saliency grids of the chunk.
        actor: the worker.

    Raises:
        LeaseLost: the chunk was cancelled or given to another; nothing was written.
    """
    _require_one_outcome_each(claim, outcomes)
    finished = session.scalar(
        sa.update(Chunk)
        .where(*held_by(claim))
        .values(state=ChunkState.DONE, lease_until=None, finished_at=sa.func.clock_timestamp())
        .returning(Chunk.id)
    )
    if finished is None:
        raise LeaseLost(f"Chunk {claim.chunk_id} is no longer held under lease {claim.lease_no}.")
    predicted = [outcome for outcome in outcomes if isinstance(outcome, Predicted)]
    refused = [outcome for outcome in outcomes if not isinstance(outcome, Predicted)]
    if predicted:
        _record_predictions(session, claim, predicted, engine, preprocessing_version, derived_key)
    if refused and not claim.rescoring:
        _record_refusals(session, refused)
    append(
        session,
        Event(
            action=Action.CHUNK_CLASSIFIED,
            outcome=AuditOutcome.SUCCESS,
            actor=actor,
            department_id=claim.department_id,
            object_type="batch",
            object_id=str(claim.batch_id),
            details={
                "chunk": str(claim.chunk_id),
                "lease_no": claim.lease_no,
                "model": claim.model_digest,
                "rescoring": claim.rescoring,
                "images": dict(Counter(str(_state_of(outcome)) for outcome in outcomes)),
                "fields_used": dict(
                    Counter(str(field) for one in predicted for field in one.assessment.fields_used)
                ),
            },
        ),
    )


def note_stop(session: Session, claim: Claim, image_id: UUID) -> int:
    """Count that an image stopped its quarantine process; returns how often it has by now.

    Raises:
        LeaseLost: the chunk is no longer ours; nothing was counted.
    """
    stops: int | None = session.scalar(
        sa.update(Image)
        .where(Image.id == image_id, sa.exists().where(*held_by(claim)))
        .values(stops=sa.func.least(Image.stops + 1, MAX_STOPS))
        .returning(Image.stops)
    )
    if stops is None:
        raise LeaseLost(f"Chunk {claim.chunk_id} is no longer held under lease {claim.lease_no}.")
    return stops


def note_late_write(session: Session, claim: Claim) -> None:
    """Count that a former holder tried to record. Changes nothing else."""
    session.execute(
        sa.update(Chunk).where(Chunk.id == claim.chunk_id).values(late_writes=Chunk.late_writes + 1)
    )


def _require_one_outcome_each(claim: Claim, outcomes: Sequence[Outcome]) -> None:
    expected = {image.id for image in claim.images}
    came = [outcome.image_id for outcome in outcomes]
    if len(came) != len(expected) or set(came) != expected:
        raise ValueError(
            f"Expected one outcome for each of {len(expected)} images. Received: {len(came)} outcomes"
            f" for {len(set(came))} images."
        )


def _state_of(outcome: Outcome) -> ImageState:
    match outcome:
        case Predicted():
            cannot = outcome.assessment.triage is Triage.CANNOT_ASSESS
            return ImageState.UNASSESSABLE if cannot else ImageState.CLASSIFIED
        case Refused():
            return ImageState.REJECTED
        case Failed():
            return ImageState.FAILED


def _record_predictions(
    session: Session,
    claim: Claim,
    outcomes: Sequence[Predicted],
    engine: str,
    preprocessing_version: str,
    derived_key: str,
) -> None:
    rows = [
        {
            "id": new_id(),
            "department_id": claim.department_id,
            "image_id": outcome.image_id,
            "chunk_id": claim.chunk_id,
            "model_digest": claim.model_digest,
            "preprocessing_version": preprocessing_version,
            "engine": engine,
            "scores": list(outcome.assessment.scores),
            "probabilities": list(outcome.assessment.probabilities),
            "predicted_class": outcome.assessment.predicted_class,
            "malignant_probability": outcome.assessment.malignant_probability,
            "conformal_set": list(outcome.assessment.conformal_set),
            "triage": outcome.assessment.triage,
            "triage_reason": outcome.assessment.reason,
            "quality": dict(outcome.quality),
            "fields_used": list(outcome.assessment.fields_used),
            "derived_key": derived_key,
            "derived_index": outcome.derived_index,
        }
        for outcome in outcomes
    ]
    session.execute(sa.insert(Prediction), rows)
    if claim.rescoring:
        return
    _set_images(
        session,
        [(outcome.image_id, _state_of(outcome)) for outcome in outcomes],
        {"prediction_id": ([row["id"] for row in rows], sa.Uuid())},
    )


def _record_refusals(session: Session, outcomes: Sequence[Refused | Failed]) -> None:
    _set_images(
        session,
        [(outcome.image_id, _state_of(outcome)) for outcome in outcomes],
        {
            "reason_code": ([outcome.reason_code for outcome in outcomes], sa.Text()),
            "reason": ([outcome.reason for outcome in outcomes], sa.Text()),
        },
    )


def _set_images(
    session: Session,
    states: Sequence[tuple[UUID, ImageState]],
    columns: Mapping[str, tuple[Sequence[Any], sa.types.TypeEngine[Any]]],
) -> None:
    """One UPDATE for all images of a chunk: a round trip for each would cost more than the model."""
    names = list(columns)
    new = sa.values(
        sa.column("image_id", sa.Uuid()),
        sa.column("state", sa.Text()),
        *(sa.column(name, kind) for name, (_, kind) in columns.items()),
        name="new",
    ).data(
        [
            (image_id, state.value, *values)
            for (image_id, state), *values in zip(states, *(columns[name][0] for name in names), strict=True)
        ]
    )
    session.execute(
        sa.update(Image)
        .where(Image.id == new.c.image_id, Image.state == ImageState.PENDING)
        .values(state=sa.cast(new.c.state, sa.Text()), **{name: new.c[name] for name in names})
        .execution_options(synchronize_session=False)
    )
