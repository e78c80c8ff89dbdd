"""One batch while it is worked on and afterwards."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from flask import (
    Blueprint,
    Response,
    make_response,
    redirect,
    render_template,
    request,
    stream_with_context,
    url_for,
)
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from dermabatch import results
from dermabatch.audit import Action
from dermabatch.exports import csv_lines
from dermabatch.ledger import BatchCounts, cancel_batch, counts, retry_batch
from dermabatch.lifecycle import BatchState, ImageState
from dermabatch.schema import Batch
from webui.access import department_session, person
from webui.audited import actor_of, note
from webui.narrowing import Narrowing
from webui.portal import portal

blueprint = Blueprint("batch", __name__, url_prefix="/batches/<uuid:batch_id>")

PAGE_ROWS = 50
LEFT_OUT_ROWS = 100


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a batch is, at the moment of the answer."""

    batch: Batch
    counts: BatchCounts
    asked_at: datetime

    @property
    def finished(self) -> int:
        """Files that have their outcome."""
        return self.counts.accounted - self.counts.pending

    @property
    def moving(self) -> bool:
        """Whether another look may show something new."""
        if self.batch.state is BatchState.RECEIVING:
            return True
        return self.batch.state is BatchState.ACCEPTED and self.counts.pending > 0

    @property
    def can_cancel(self) -> bool:
        """Whether there is anything left to stop."""
        return self.batch.state is BatchState.ACCEPTED and self.counts.pending > 0

    @property
    def can_retry(self) -> bool:
        """Whether there is anything to try again."""
        return self.batch.state is BatchState.ACCEPTED and self.counts.failed > 0

    @property
    def seconds_left(self) -> float | None:
        """Judged by the speed so far; None while too little is known."""
        worked = self.counts.classified + self.counts.unassessable
        if self.batch.accepted_at is None or not worked or not self.moving:
            return None
        elapsed = (self.asked_at - self.batch.accepted_at).total_seconds()
        return elapsed / worked * self.counts.pending


@blueprint.get("")
def show(batch_id: UUID) -> str:
    """Counts, results by suspicion, and the files that were left out."""
    with department_session() as session:
        return render_template("batch/page.html", **_listed(session, batch_id))


@blueprint.get("/progress")
def progress(batch_id: UUID) -> Response:
    """The bar and the counts, for a page that watches. Holds no result of an image."""
    with department_session() as session:
        now = _progress(session, batch_id)
    answer = make_response(render_template("batch/progress.html", progress=now, batch=now.batch))
    if request.args.get("finished", type=int) != now.finished:
        answer.headers["HX-Trigger"] = "results-changed"
    return answer


@blueprint.get("/results")
def listing(batch_id: UUID) -> str:
    """Results, what was left out, and the models, for a page that watches."""
    with department_session() as session:
        return render_template("batch/listing.html", **_listed(session, batch_id))


@blueprint.get("/results.csv")
def export(batch_id: UUID) -> Response:
    """Every file of the batch with its result, for a spreadsheet."""
    with department_session() as session:
        results.find_batch(session, batch_id)
        note(
            session,
            Action.BATCH_EXPORT,
            person=person(),
            thing=("batch", batch_id),
            details={"format": "csv"},
        )
    answer = Response(stream_with_context(_csv(batch_id)), mimetype="text/csv")
    answer.headers["Content-Disposition"] = f'attachment; filename="batch-{batch_id}.csv"'
    return answer


@blueprint.post("/cancel")
def cancel(batch_id: UUID) -> ResponseReturnValue:
    """Stop what has not been classified yet."""
    with department_session() as session:
        cancel_batch(session, batch_id, actor=actor_of(person()))
    return redirect(url_for("batch.show", batch_id=batch_id))


@blueprint.post("/retry")
def retry(batch_id: UUID) -> ResponseReturnValue:
    """Work on the failed images again."""
    with department_session() as session:
        images = retry_batch(session, batch_id, actor=actor_of(person()))
    portal().wake_up.send(images)
    return redirect(url_for("batch.show", batch_id=batch_id))


def _progress(session: Session, batch_id: UUID) -> Progress:
    return Progress(results.find_batch(session, batch_id), counts(session, batch_id), datetime.now(UTC))


def _listed(session: Session, batch_id: UUID) -> dict[str, Any]:
    """What the templates show of a batch's images; leaves the event of having looked."""
    narrowing = Narrowing.of_batch(request.args)
    progress = _progress(session, batch_id)
    page = results.page(
        session,
        batch_id,
        keyring=portal().keyring,
        states=narrowing.states,
        cursor=request.args.get("after"),
        limit=PAGE_ROWS,
        **narrowing.criteria(),
    )
    left_out = results.page(
        session,
        batch_id,
        keyring=portal().keyring,
        states=(ImageState.REJECTED, ImageState.FAILED),
        limit=LEFT_OUT_ROWS,
    )
    shown = sorted({str(result.image.id) for result in (*page.results, *left_out.results)})
    note(session, Action.BATCH_VIEW, person=person(), thing=("batch", batch_id), details={"images": shown})
    return {
        "progress": progress,
        "batch": progress.batch,
        "page": page,
        "narrowing": narrowing,
        "flagged": results.flagged_in(session, [batch_id])[batch_id],
        "left_out": left_out,
        "models": results.models_of(session, batch_id),
    }


def _csv(batch_id: UUID) -> Iterator[str]:
    with department_session() as session:
        # What a spreadsheet needs to take the file for UTF-8.
        yield "\N{BYTE ORDER MARK}"
        yield from csv_lines(results.every(session, batch_id, keyring=portal().keyring))
