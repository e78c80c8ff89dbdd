"""The department's batches, newest first."""

from uuid import UUID

from flask import Blueprint, render_template, request

from dermabatch import results
from dermabatch.audit import Action
from webui.access import department_session, person
from webui.audited import note
from webui.pages.upload import SAMPLE_IMAGES

blueprint = Blueprint("batches", __name__)

PAGE_ROWS = 30


@blueprint.get("/batches")
def index() -> str:
    """One line for each batch."""
    before = request.args.get("before", type=UUID)
    with department_session() as session:
        summaries = results.list_batches(session, before=before, limit=PAGE_ROWS + 1)
        shown = summaries[:PAGE_ROWS]
        ids = [summary.batch.id for summary in shown]
        flagged = results.flagged_in(session, ids)
        note(session, Action.BATCHES_LIST, person=person(), details={"batches": [str(id_) for id_ in ids]})
    return render_template(
        "batches.html",
        summaries=shown,
        flagged=flagged,
        before=before,
        next_before=ids[-1] if len(summaries) > PAGE_ROWS else None,
        sample_images=SAMPLE_IMAGES,
    )
