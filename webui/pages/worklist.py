"""What wants eyes, over all recent batches of the department, most suspicious first."""

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from dermabatch import results
from dermabatch.audit import Action
from webui.access import department_session, person
from webui.audited import note
from webui.narrowing import WANTS_EYES, WORKLIST_DAYS, Narrowing
from webui.portal import portal

blueprint = Blueprint("worklist", __name__)
PAGE_ROWS = 50


@blueprint.get("/")
def home() -> ResponseReturnValue:
    """The first page of whoever signs in: work for staff, the trail for those who only administer."""
    return _worklist() if person().is_staff else redirect(url_for("audit.search"))


def _worklist() -> str:
    narrowing = Narrowing.of_worklist(request.args)
    assert narrowing.since is not None
    with department_session() as session:
        page = results.worklist(
            session,
            keyring=portal().keyring,
            since=narrowing.since,
            cursor=request.args.get("after"),
            limit=PAGE_ROWS,
            **narrowing.criteria(),
        )
        note(
            session,
            Action.BATCH_VIEW,
            person=person(),
            details={"list": "worklist", "images": [str(result.image.id) for result in page.results]},
        )
    return render_template(
        "worklist.html",
        page=page,
        narrowing=narrowing,
        levels=WANTS_EYES,
        spans=WORKLIST_DAYS,
        is_first_page="after" not in request.args,
    )
