"""Writing to the trail: in the caller's transaction, so that the event stands exactly when the deed does."""

import json
from collections.abc import Callable
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dermabatch.audit.events import Details, Event
from dermabatch.database import Sessions

_APPEND = sa.text(
    "SELECT append_audit(:action, :outcome, CAST(:actor_id AS uuid), :actor_kind, :source, :request_id,"
    " CAST(:department_id AS uuid), :object_type, :object_id, :details)"
)
_APPENDED: Final = "audit_events"


def append(session: Session, event: Event) -> None:
    """Record an event with the caller's transaction: rolled back with it, visible with it.

    Raises:
        ValueError: the details hold NaN or an infinity, which JSON has no spelling for.
    """
    session.execute(
        _APPEND,
        {
            "action": event.action,
            "outcome": event.outcome,
            "actor_id": _text(event.actor.id),
            "actor_kind": event.actor.kind,
            "source": _text(event.actor.source),
            "request_id": _text(event.actor.request_id),
            "department_id": _text(event.department_id),
            "object_type": _text(event.object_type),
            "object_id": _text(event.object_id),
            "details": canonical_json(event.details),
        },
    )
    session.info[_APPENDED] = session.info.get(_APPENDED, 0) + 1


def tell_of_commits(sessions: Sessions, tell: Callable[[int], None]) -> None:
    """Have `tell` called after every commit that leaves events, with their number, in the thread of the deed.

    So that whoever answers for a deed knows whether the trail has it.
    """

    def committed(session: Session) -> None:
        if appended := session.info.pop(_APPENDED, 0):
            tell(appended)

    sessions.after_commit(committed)


def canonical_json(details: Details) -> str:
    """The one spelling of a JSON object: sorted keys, no spaces, ASCII that can keep any string."""
    return json.dumps(details, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _text(value: object) -> str | None:
    # A request may bring any character. PostgreSQL stores neither NUL nor half of a surrogate pair, and an
    # event must not be lost to a hostile header.
    if value is None:
        return None
    return str(value).replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()
