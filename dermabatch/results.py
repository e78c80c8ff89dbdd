"""Reading a batch: one order, one meaning, for portal, API, command line and exports.

Lesions stand in the order in which they want eyes: urgent, cannot assess, soon, not flagged, and within each
the more probably malignant first. A lesion is as suspicious as its worst image, and its images stay together.
Images without a prediction come last, in the order of the upload.
"""

import base64
import binascii
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session, joinedload

from dermabatch.errors import ErasedSubject, InvalidRequest, NotFound
from dermabatch.ledger import BatchCounts, counts_of
from dermabatch.lifecycle import PREDICTED_STATES, BatchState, ImageState
from dermabatch.schema import Batch, Image, Prediction
from dermabatch.subjects import KeyRing, data_key, open_text
from dermabatch.taxonomy import CLASSES
from dermabatch.triage import Triage

SUSPICION: Final = (Triage.URGENT, Triage.CANNOT_ASSESS, Triage.SOON, Triage.NOT_FLAGGED)
"""Triage levels, most suspicious first. What could not be assessed wants eyes before what was."""

MAX_PAGE: Final = 500
_EXPORT_ROWS_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Result:
    """One image of a batch, its prediction if it has one, and the names that only its department may read."""

    image: Image
    file_name: str | None
    """None: the patient was erased."""
    patient: str | None
    lesion: str | None
    """The label that came with the upload."""

    @property
    def prediction(self) -> Prediction | None:
        return self.image.prediction

    @property
    def erased(self) -> bool:
        return self.image.subject is not None and self.image.subject.erased_at is not None


@dataclass(frozen=True, slots=True)
class Page:
    """Some results in order, and the cursor of what follows; None at the end."""

    results: tuple[Result, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Where an image stands in a list, and what stands beside it."""

    place: int
    """From 1."""
    of: int
    previous: UUID | None
    next: UUID | None


@dataclass(frozen=True, slots=True)
class BatchSummary:
    """One batch as lists show it."""

    batch: Batch
    counts: BatchCounts


def find_batch(session: Session, batch_id: UUID) -> Batch:
    """The batch, if this session's department owns it.

    Raises:
        NotFound: it does not, or there is none.
    """
    batch = session.get(Batch, batch_id)
    if batch is None:
        raise NotFound(f"There is no batch {batch_id} in this department")
    return batch


def list_batches(session: Session, *, before: UUID | None = None, limit: int = 50) -> list[BatchSummary]:
    """The department's batches, newest first; `before` is the id of the last one of the page before.

    An upload that broke off before its first file is no batch to anybody.
    """
    query = sa.select(Batch).order_by(Batch.id.desc()).limit(limit)
    query = query.where(sa.or_(Batch.state != BatchState.ABANDONED, Batch.received > 0))
    if before is not None:
        query = query.where(Batch.id < before)
    batches = session.scalars(query).all()
    counted = counts_of(session, [batch.id for batch in batches])
    return [BatchSummary(batch, counted[batch.id]) for batch in batches]


def models_of(session: Session, batch_id: UUID) -> dict[str, int]:
    """How many images of the batch each model answered for, by digest."""
    return {
        digest: count
        for digest, count in session.execute(
            sa.select(Prediction.model_digest, sa.func.count())
            .join(Image, Image.prediction_id == Prediction.id)
            .where(Image.batch_id == batch_id)
            .group_by(Prediction.model_digest)
            .order_by(sa.func.count().desc())
        )
    }


def find_result(session: Session, image_id: UUID, *, keyring: KeyRing) -> Result:
    """One image.

    Raises:
        NotFound: no such image in this department.
    """
    image = session.scalar(sa.select(Image).where(Image.id == image_id).options(*_with_relations()))
    if image is None:
        raise NotFound(f"There is no image {image_id} in this department")
    return _opened(image, keyring)


def page(
    session: Session,
    batch_id: UUID,
    *,
    keyring: KeyRing,
    states: Collection[ImageState] = tuple(ImageState),
    triage: Collection[Triage] | None = None,
    classes: Collection[str] | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page:
    """Some results of a batch, most suspicious first.

    Args:
        states: only images in these states.
        triage: only images at these levels; None does not ask.
        classes: only images of these predicted classes; None does not ask.
        cursor: `next_cursor` of the page before. While a batch is worked on, results may move past it.
        limit: most rows of the page, 1 to `MAX_PAGE`.

    Raises:
        InvalidRequest: a cursor that this function did not make.
    """
    order = _order_within(_of_batch(batch_id))
    query = _narrowed(_ordered(order), states, triage, classes)
    return _page(session, query, order, keyring, cursor, limit)


def worklist(
    session: Session,
    *,
    keyring: KeyRing,
    since: datetime,
    triage: Collection[Triage],
    classes: Collection[str] | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page:
    """Results of all of the department's batches that were handed in since a moment, most suspicious first.

    Args and errors as `page`.
    """
    order = _order_within(_since(since))
    query = _narrowed(_ordered(order), PREDICTED_STATES, triage, classes)
    return _page(session, query, order, keyring, cursor, limit)


def neighbours(
    session: Session,
    image: Image,
    *,
    since: datetime | None = None,
    states: Collection[ImageState] = tuple(ImageState),
    triage: Collection[Triage] | None = None,
    classes: Collection[str] | None = None,
) -> Neighbours | None:
    """What stands beside an image in its batch, or with `since` in the worklist; None where it is not listed.

    Args:
        states, triage, classes: as the list was narrowed, see `page`.
    """
    order = _order_within(_of_batch(image.batch_id) if since is None else _since(since))
    along: dict[str, Any] = {"order_by": _keys(order)}
    in_list: sa.Select[Any] = sa.select(
        Image.id.label("image_id"),
        sa.func.row_number().over(**along).label("place"),
        sa.func.count().over().label("of"),
        sa.func.lag(Image.id).over(**along).label("previous"),
        sa.func.lead(Image.id).over(**along).label("next"),
    ).join(order, order.c.image_id == Image.id)
    listed = _narrowed(in_list, states, triage, classes).subquery("listed")
    row = session.execute(sa.select(listed).where(listed.c.image_id == image.id)).one_or_none()
    return Neighbours(row.place, row.of, row.previous, row.next) if row else None


def images_of_lesion(session: Session, lesion_id: UUID) -> list[Image]:
    """Every image of a lesion over all batches, newest first."""
    query = sa.select(Image).where(Image.lesion_id == lesion_id).order_by(Image.id.desc())
    return list(session.scalars(query.options(joinedload(Image.prediction))))


def flagged_in(session: Session, batch_ids: Collection[UUID]) -> dict[UUID, dict[Triage, int]]:
    """How many images of each batch stand at each triage level."""
    found: dict[UUID, dict[Triage, int]] = {batch_id: {} for batch_id in batch_ids}
    rows = session.execute(
        sa.select(Image.batch_id, Prediction.triage, sa.func.count())
        .join(Prediction, Prediction.id == Image.prediction_id)
        .where(Image.batch_id.in_(batch_ids))
        .group_by(Image.batch_id, Prediction.triage)
    )
    for batch_id, level, count in rows:
        found[batch_id][level] = count
    return found


def every(session: Session, batch_id: UUID, *, keyring: KeyRing) -> Iterator[Result]:
    """All results of a batch as they stood at one moment, most suspicious first; few in memory at a time."""
    query = _ordered(_order_within(_of_batch(batch_id))).execution_options(yield_per=_EXPORT_ROWS_AT_ONCE)
    for row in session.execute(query):
        yield _opened(row[0], keyring)


def record(result: Result) -> dict[str, Any]:
    """A result as JSON and tables carry it: plain values by stable names, absent ones None."""
    image, prediction = result.image, result.prediction
    return {
        "image_id": str(image.id),
        "batch_id": str(image.batch_id),
        "file": result.file_name,
        "patient": result.patient,
        "lesion_id": result.lesion,
        "age": image.age,
        "sex": image.sex,
        "localization": image.localization,
        "state": image.state.value,
        "reason_code": image.reason_code,
        "reason": image.reason,
        "triage": prediction and prediction.triage.value,
        "triage_reason": prediction and prediction.triage_reason,
        "class": prediction and prediction.predicted_class,
        "malignant_probability": prediction and prediction.malignant_probability,
        "probabilities": prediction and dict(zip(CLASSES, prediction.probabilities, strict=True)),
        "scores": prediction and dict(zip(CLASSES, prediction.scores, strict=True)),
        "conformal_set": prediction and prediction.conformal_set,
        "quality": prediction and prediction.quality,
        "fields_used": prediction and prediction.fields_used,
        "model_digest": prediction and prediction.model_digest,
        "preprocessing_version": prediction and prediction.preprocessing_version,
        "engine": prediction and prediction.engine,
        "classified_at": prediction and prediction.created_at.isoformat(),
    }


def _of_batch(batch_id: UUID) -> sa.ColumnElement[bool]:
    return Image.batch_id == batch_id


def _since(moment: datetime) -> sa.ColumnElement[bool]:
    return Image.batch_id.in_(sa.select(Batch.id).where(Batch.created_at >= moment))


def _order_within(scope: sa.ColumnElement[bool]) -> sa.Subquery:
    """Position of each image in scope: its lesion's place, then its own within the lesion."""
    level = sa.case(
        {level.value: place for place, level in enumerate(SUSPICION)},
        value=Prediction.triage,
        else_=len(SUSPICION),
    )
    # Negated, so that every key of the order ascends and one tuple comparison finds the next page.
    benign = -sa.func.coalesce(Prediction.malignant_probability, 0.0)
    lesion = sa.func.coalesce(Image.lesion_id, Image.id)

    def of_worst(key: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return sa.func.first_value(key).over(partition_by=lesion, order_by=(level, benign))

    return (
        sa.select(
            of_worst(level).label("lesion_level"),
            of_worst(benign).label("lesion_benign"),
            lesion.label("lesion"),
            level.label("level"),
            benign.label("benign"),
            # Last and unique, so that a cursor never skips one of two equals; ids ascend as files came in.
            Image.id.label("image_id"),
        )
        .outerjoin(Prediction, Prediction.id == Image.prediction_id)
        .where(scope)
        .subquery("places")
    )


def _keys(order: sa.Subquery) -> list[sa.ColumnElement[Any]]:
    return list(order.c)


def _ordered(order: sa.Subquery) -> sa.Select[Any]:
    return (
        sa.select(Image, *_keys(order))
        .join(order, order.c.image_id == Image.id)
        .order_by(*_keys(order))
        .options(*_with_relations())
    )


def _narrowed(
    query: sa.Select[Any],
    states: Collection[ImageState],
    triage: Collection[Triage] | None,
    classes: Collection[str] | None,
) -> sa.Select[Any]:
    query = query.where(Image.state.in_(states))
    if triage is not None or classes is not None:
        query = query.join(Image.prediction)
    if triage is not None:
        query = query.where(Prediction.triage.in_(triage))
    if classes is not None:
        query = query.where(Prediction.predicted_class.in_(classes))
    return query


def _page(
    session: Session,
    query: sa.Select[Any],
    order: sa.Subquery,
    keyring: KeyRing,
    cursor: str | None,
    limit: int,
) -> Page:
    if cursor is not None:
        query = query.where(sa.tuple_(*_keys(order)) > sa.tuple_(*_read_cursor(cursor)))
    rows = session.execute(query.limit(limit + 1)).all()
    results = tuple(_opened(row[0], keyring) for row in rows[:limit])
    more = len(rows) > limit
    return Page(results, _write_cursor(rows[limit - 1][1:]) if more else None)


def _with_relations() -> list[Any]:
    return [
        joinedload(Image.prediction),
        joinedload(Image.subject),
        joinedload(Image.lesion),
        joinedload(Image.batch),
    ]


def _opened(image: Image, keyring: KeyRing) -> Result:
    try:
        key = data_key(keyring, image)
    except ErasedSubject:
        return Result(image, file_name=None, patient=None, lesion=None)
    subject, lesion = image.subject, image.lesion
    return Result(
        image,
        file_name=open_text(image.file_name_sealed, key, image.id),
        patient=open_text(subject.patient_sealed, key, subject.id)
        if subject and subject.patient_sealed
        else None,
        lesion=open_text(lesion.label_sealed, key, lesion.id) if lesion else None,
    )


def _write_cursor(place: Any) -> str:
    lesion_level, lesion_benign, lesion, level, benign, image_id = place
    values = [lesion_level, lesion_benign, str(lesion), level, benign, str(image_id)]
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode()


def _read_cursor(cursor: str) -> list[sa.ColumnElement[Any]]:
    try:
        lesion_level, lesion_benign, lesion, level, benign, image_id = json.loads(
            base64.urlsafe_b64decode(cursor)
        )
        return [
            sa.literal(int(lesion_level)),
            sa.literal(float(lesion_benign), sa.Double),
            sa.literal(UUID(lesion)),
            sa.literal(int(level)),
            sa.literal(float(benign), sa.Double),
            sa.literal(UUID(image_id)),
        ]
    except (binascii.Error, ValueError, TypeError, AttributeError):
        raise InvalidRequest("Expected a cursor from the page before. Received: something else") from None
