"""Handing in a batch."""

from collections.abc import Iterator

from flask import Blueprint, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from dermabatch.accounts import STAFF
from dermabatch.identifiers import new_id
from dermabatch.intake import IncomingFile, accept_upload, parse_metadata
from dermabatch.lifecycle import Queue
from webui.access import guard, only_for, person
from webui.audited import actor_of
from webui.portal import portal
from webui.security import limiter
from webui.spool import admit_upload

blueprint = Blueprint("upload", __name__)
only_for(blueprint, STAFF)


@blueprint.before_app_request
def let_large_bodies_in() -> ResponseReturnValue | None:
    """Lift the limits on a request's size for staff alone, before anything has read the body."""
    if request.endpoint != "upload.create":
        return None
    refusal = guard(STAFF)()
    if refusal is None:
        admit_upload(portal().settings)
    return refusal


@blueprint.get("/batches/new")
def new() -> str:
    """The form."""
    return render_template("upload.html", idempotency_key=new_id().hex, settings=portal().settings)


@blueprint.post("/batches")
@limiter.limit("30 per minute")
def create() -> ResponseReturnValue:
    """Take the files in; go to the batch, or tell a script where it is."""
    collaborators = portal()
    metadata = request.files.get("metadata")
    acceptance = accept_upload(
        files=_incoming(),
        metadata=parse_metadata(metadata.stream)  # type: ignore[arg-type]
        if metadata and metadata.filename
        else None,
        submitter=person(),
        queue=Queue.INTERACTIVE,
        idempotency_key=request.form.get("idempotency_key") or None,
        actor=actor_of(person()),
        sessions=collaborators.sessions,
        store=collaborators.store,
        keyring=collaborators.keyring,
        wake_up=collaborators.wake_up,
        settings=collaborators.settings,
        decoders=collaborators.decoders,
    )
    address = url_for("batch.show", batch_id=acceptance.batch_id)
    if request.accept_mimetypes.best == "application/json":
        answer = make_response({"batch": str(acceptance.batch_id), "page": address}, 201)
        answer.headers["Location"] = address
        return answer
    return redirect(address, 303)


def _incoming() -> Iterator[IncomingFile]:
    for file in request.files.getlist("files"):
        # A browser sends an empty part for a field without files.
        if file.filename:
            yield IncomingFile(file.filename, file.stream)  # type: ignore[arg-type]
