"""Batches: hand one in, follow it, read its results, stop it, try again."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from flask import Response, request, stream_with_context, url_for

from dermabatch import results
from dermabatch.audit import Action
from dermabatch.errors import InvalidRequest
from dermabatch.exports import NOTICE, csv_lines
from dermabatch.intake import Acceptance, IncomingFile, parse_metadata
from dermabatch.ledger import BatchCounts, cancel_batch, counts, retry_batch
from dermabatch.lifecycle import ImageState, Queue
from dermabatch.schema import Batch
from webui.api import schemas
from webui.api.access import actor, caller, department_session, note, resource
from webui.handing_in import hand_in
from webui.portal import portal

blueprint = resource("Batches", "/batches", "Uploads and their results")

_LONGEST_IDEMPOTENCY_KEY = 200

_UPLOAD_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["files"],
                "properties": {
                    "files": {
                        "type": "array",
                        "items": {"type": "string", "contentMediaType": "application/octet-stream"},
                        "description": "JPEG, PNG or DICOM files, or ZIP and tar archives of them.",
                    },
                    "metadata": {
                        "type": "string",
                        "contentMediaType": "text/csv",
                        "description": "file, patient, lesion_id, age, sex, localization",
                    },
                    "queue": {
                        "type": "string",
                        "enum": [queue.value for queue in Queue],
                        "default": "interactive",
                    },
                },
            }
        }
    },
}
_IDEMPOTENCY_KEY = {
    "in": "header",
    "name": "Idempotency-Key",
    "schema": {"type": "string", "maxLength": _LONGEST_IDEMPOTENCY_KEY},
    "description": "Repeating an upload with the same key gives the first answer again and stores nothing twice.",
}


@blueprint.post("")
@blueprint.response(202, schemas.Acceptance)
@blueprint.doc(requestBody=_UPLOAD_BODY, parameters=[_IDEMPOTENCY_KEY])
def create() -> tuple[Acceptance, dict[str, str]]:
    """Hand in images. A bad file gets its reason and disturbs no other."""
    metadata = request.files.get("metadata")
    acceptance = hand_in(
        _incoming(),
        metadata=parse_metadata(metadata.stream) if metadata else None,  # type: ignore[arg-type]
        submitter=caller(),
        actor=actor(),
        queue=_queue(),
        idempotency_key=_idempotency_key(),
    )
    return acceptance, {"Location": url_for("Batches.show", batch_id=acceptance.batch_id)}


@blueprint.get("")
@blueprint.arguments(schemas.BatchPageQuery, location="query", as_kwargs=True)
@blueprint.response(200, schemas.BatchPage)
def index(cursor: UUID | None, limit: int) -> dict[str, Any]:
    """Batches of the department, newest first."""
    with department_session() as session:
        found = results.list_batches(session, before=cursor, limit=limit + 1)
        shown = found[:limit]
        note(session, Action.BATCHES_LIST, details={"batches": [str(summary.batch.id) for summary in shown]})
    return {
        "batches": [_described(summary.batch, summary.counts) for summary in shown],
        "next_cursor": shown[-1].batch.id if len(found) > limit else None,
    }


@blueprint.get("/<uuid:batch_id>")
@blueprint.response(200, schemas.BatchDetail)
def show(batch_id: UUID) -> dict[str, Any]:
    """One batch: counts by state, by triage and by model. Holds no result of an image."""
    with department_session() as session:
        batch = results.find_batch(session, batch_id)
        described = _described(batch, counts(session, batch_id))
        flagged = results.flagged_in(session, [batch_id])[batch_id]
        models = results.models_of(session, batch_id)
        note(session, Action.BATCH_VIEW, thing=("batch", batch_id))
    return {**described, "triage": flagged, "models": models}


@blueprint.get("/<uuid:batch_id>/results")
@blueprint.arguments(schemas.ResultPageQuery, location="query", as_kwargs=True)
@blueprint.response(200, schemas.ResultPage)
def show_results(
    batch_id: UUID,
    cursor: str | None,
    limit: int,
    state: list[ImageState] | None = None,
    triage: list[Any] | None = None,
    class_: list[str] | None = None,
) -> dict[str, Any]:
    """Results so far, most suspicious first, with the files that were left out and why."""
    with department_session() as session:
        results.find_batch(session, batch_id)
        page = results.page(
            session,
            batch_id,
            keyring=portal().keyring,
            states=state or tuple(ImageState),
            triage=triage,
            classes=class_,
            cursor=cursor,
            limit=limit,
        )
        shown = [str(result.image.id) for result in page.results]
        note(session, Action.BATCH_VIEW, thing=("batch", batch_id), details={"images": shown})
    return {
        "results": [results.record(result) for result in page.results],
        "next_cursor": page.next_cursor,
        "notice": NOTICE,
    }


@blueprint.get("/<uuid:batch_id>/results.csv")
@blueprint.response(200, content_type="text/csv")
def export(batch_id: UUID) -> Response:
    """Every file of the batch with its result, as CSV."""
    with department_session() as session:
        results.find_batch(session, batch_id)
        note(session, Action.BATCH_EXPORT, thing=("batch", batch_id), details={"format": "csv"})
    return Response(stream_with_context(_csv(batch_id)), mimetype="text/csv")


@blueprint.post("/<uuid:batch_id>/cancel")
@blueprint.response(200, schemas.Changed)
def cancel(batch_id: UUID) -> dict[str, int]:
    """Stop what has not been classified yet; what was, stays."""
    with department_session() as session:
        return {"images": cancel_batch(session, batch_id, actor=actor())}


@blueprint.post("/<uuid:batch_id>/retry")
@blueprint.response(200, schemas.Changed)
def retry(batch_id: UUID) -> dict[str, int]:
    """Work on the failed images again."""
    with department_session() as session:
        images = retry_batch(session, batch_id, actor=actor())
    portal().wake_up.send(images)
    return {"images": images}


def _described(batch: Batch, counted: BatchCounts) -> dict[str, Any]:
    return {
        "id": batch.id,
        "state": batch.state.value,
        "queue": batch.queue.value,
        "received": batch.received,
        "states": counted.states(),
        "done": counted.done,
        "created_at": batch.created_at,
        "accepted_at": batch.accepted_at,
        "cancelled_at": batch.cancelled_at,
    }


def _incoming() -> Iterator[IncomingFile]:
    for file in request.files.getlist("files"):
        yield IncomingFile(file.filename or "", file.stream)  # type: ignore[arg-type]


def _queue() -> Queue:
    wanted = request.form.get("queue", Queue.INTERACTIVE)
    if wanted not in set(Queue):  # Python 3.11 asks no StrEnum for a plain string
        raise InvalidRequest(f"Expected a queue of: {', '.join(Queue)}. Received: {wanted}")
    return Queue(wanted)


def _idempotency_key() -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not 0 < len(key) <= _LONGEST_IDEMPOTENCY_KEY:
        raise InvalidRequest(
            f"Expected an Idempotency-Key of 1 to {_LONGEST_IDEMPOTENCY_KEY} characters. Received: {len(key)}"
        )
    return key


def _csv(batch_id: UUID) -> Iterator[str]:
    with department_session() as session:
        yield from csv_lines(results.every(session, batch_id, keyring=portal().keyring))
