"""Handing in a batch."""

import io
from collections.abc import Iterator

from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from dermabatch.errors import InvalidRequest
from dermabatch.identifiers import new_id
from dermabatch.imaging.synthetic import lesion_jpeg
from dermabatch.intake import IncomingFile, parse_metadata
from webui.access import person
from webui.audited import actor_of
from webui.handing_in import hand_in
from webui.portal import portal
from webui.security import limiter

blueprint = Blueprint("upload", __name__)

SAMPLE_IMAGES = 12
LONGEST_IDEMPOTENCY_KEY = 200


@blueprint.get("/batches/new")
def new() -> str:
    """The form."""
    return render_template("upload.html", idempotency_key=new_id().hex, settings=portal().settings)


@blueprint.post("/batches")
@limiter.limit("30 per minute")
def create() -> ResponseReturnValue:
    """Take the files in; go to the batch, or tell a script where it is."""
    metadata = request.files.get("metadata")
    given = parse_metadata(metadata.stream) if metadata and metadata.filename else None  # type: ignore[arg-type]
    acceptance = hand_in(
        _incoming(),
        metadata=given,
        submitter=person(),
        actor=actor_of(person()),
        idempotency_key=_idempotency_key(),
    )
    address = url_for("batch.show", batch_id=acceptance.batch_id)
    if acceptance.repeated:
        flash(
            "This form was handed in before; this is that batch, and nothing new was stored."
            " To hand in other files, open Upload again."
        )
    if request.accept_mimetypes.best == "application/json":
        answer = make_response({"batch": str(acceptance.batch_id), "page": address}, 201)
        answer.headers["Location"] = address
        return answer
    return redirect(address, 303)


@blueprint.post("/batches/sample")
@limiter.limit("6 per minute")
def sample() -> ResponseReturnValue:
    """Hand in painted pictures, for a reader who wants to see a batch before there is a real one."""
    batch_id = hand_in(_painted(), metadata=None, submitter=person(), actor=actor_of(person())).batch_id
    flash(
        "These pictures were painted by this program. They show no lesion of anybody: their results mean nothing."
    )
    return redirect(url_for("batch.show", batch_id=batch_id), 303)


def _idempotency_key() -> str | None:
    key = request.form.get("idempotency_key") or None
    if key is not None and len(key) > LONGEST_IDEMPOTENCY_KEY:
        raise InvalidRequest(
            f"Expected a key of at most {LONGEST_IDEMPOTENCY_KEY} characters. Received: {len(key)}"
        )
    return key


def _painted() -> Iterator[IncomingFile]:
    for number in range(1, SAMPLE_IMAGES + 1):
        # The name stands beside every result, in lists, on the image's page and in exports.
        yield IncomingFile(f"painted-no-patient-{number:02}.jpg", io.BytesIO(lesion_jpeg(number)))


def _incoming() -> Iterator[IncomingFile]:
    for file in request.files.getlist("files"):
        # A browser sends an empty part for a field without files.
        if file.filename:
            yield IncomingFile(file.filename, file.stream)  # type: ignore[arg-type]
