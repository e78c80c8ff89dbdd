"""The audit trail: who did what, and the proof that nothing was changed since."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from flask import Blueprint, Response, render_template, request, stream_with_context
from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict

from dermabatch import audit
from dermabatch.accounts import list_users
from dermabatch.audit import Action, AuditCheckpoint, AuditEvent, Backlog, BacklogWatch, Filters, Outcome
from dermabatch.errors import NotFound
from dermabatch.schema import Department
from webui.access import auditor_session, person
from webui.audited import note
from webui.narrowing import member_of
from webui.portal import portal

blueprint = Blueprint("audit", __name__, url_prefix="/audit")

PAGE_ROWS = 50


@dataclass(frozen=True, slots=True)
class Chain:
    """Where the chain stands."""

    events: int
    checkpoint: AuditCheckpoint | None
    backlog: Backlog


@blueprint.get("")
def search() -> str:
    """Events of every department, newest first."""
    filters = _filters(request.args)
    after = request.args.get("after", type=int)
    with auditor_session() as session:
        found = audit.search(session, filters, after=after, limit=PAGE_ROWS + 1)
        shown = found[:PAGE_ROWS]
        asked = sorted(name for name in request.args if name != "after" and request.args[name])
        note(
            session,
            Action.AUDIT_SEARCH,
            person=person(),
            details={"filters": asked, "events": len(shown)},
        )
        page = _page(session)
    return render_template(
        "audit/search.html",
        events=shown,
        next_after=shown[-1].seq if len(found) > PAGE_ROWS else None,
        narrowed=bool(asked),
        **page,
    )


@blueprint.post("/verify")
def verify() -> str:
    """Walk the chain, against its hashes and its signed checkpoints, and say what was found."""
    collaborators = portal()
    with auditor_session() as session:
        verdict = audit.verify(
            session,
            collaborators.store,
            collaborators.settings.verify_key,
            full="full" in request.form,
        )
        note(
            session,
            Action.AUDIT_VERIFY,
            Outcome.SUCCESS if verdict.ok else Outcome.FAILED,
            person=person(),
            details={"ok": verdict.ok, "through_seq": verdict.through_seq, "full": "full" in request.form},
        )
        page = _page(session)
    return render_template("audit/verified.html", verdict=verdict, **page)


@blueprint.get("/events/<int:seq>")
def show(seq: int) -> str:
    """One event, whole, with its hash."""
    with auditor_session() as session:
        event = audit.event_at(session, seq)
        if event is None:
            raise NotFound(f"There is no event {seq}")
        note(session, Action.AUDIT_VIEW, person=person(), thing=("event", str(seq)))
        names = _names(session)
        departments = {
            department.id: department.name for department in session.scalars(sa.select(Department))
        }
    return render_template("audit/event.html", event=event, names=names, departments=departments)


@blueprint.get("/export.jsonl")
def export() -> Response:
    """The whole trail up to the newest checkpoint, for whoever verifies it without this installation."""
    lines = _exported()
    # The first line fails where nothing is signed yet, while an error can still be answered.
    first = next(lines)
    # Committed before the first byte leaves: whoever breaks off the download has read what came.
    with auditor_session() as session:
        note(session, Action.AUDIT_EXPORT, person=person())
    answer = Response(stream_with_context(_chained(first, lines)), mimetype="application/jsonl")
    answer.headers["Content-Disposition"] = f'attachment; filename="audit-{datetime.now(UTC):%Y-%m-%d}.jsonl"'
    return answer


def _exported() -> Iterator[bytes]:
    collaborators = portal()
    with auditor_session() as session:
        yield from audit.export(
            session,
            collaborators.store,
            collaborators.settings.verify_key,
        )


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _page(session: Session) -> Mapping[str, Any]:
    """What every page of the trail shows around its subject."""
    return {
        "chain": Chain(
            events=session.scalar(sa.select(sa.func.max(AuditEvent.seq))) or 0,
            checkpoint=session.scalar(
                sa.select(AuditCheckpoint).order_by(AuditCheckpoint.seq.desc()).limit(1)
            ),
            backlog=BacklogWatch().look(session),
        ),
        "users": list_users(session),
        "names": _names(session),
        "actions": list(Action),
        "outcomes": list(Outcome),
    }


def _names(session: Session) -> dict[UUID, str]:
    return {user.id: user.name for user in list_users(session)}


def _filters(args: "MultiDict[str, str]") -> Filters:
    """What is not understood is not asked for; the form shows what was."""
    until = args.get("until", type=date.fromisoformat)
    return Filters(
        actor_id=args.get("actor", type=UUID),
        action=member_of(Action, args.get("action")),
        outcome=member_of(Outcome, args.get("outcome")),
        object_id=args.get("object", "").strip() or None,
        since=_midnight(args.get("since", type=date.fromisoformat)),
        # The last day is meant to be included.
        until=_midnight(until + timedelta(days=1) if until else None),
    )


def _midnight(day: date | None) -> datetime | None:
    return datetime.combine(day, time(), UTC) if day else None
