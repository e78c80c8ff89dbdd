"""Finding events: by whom, what, which, how it ended, where and when. Newest first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dermabatch.audit.events import Action, Outcome
from dermabatch.audit.tables import AuditEvent


@dataclass(frozen=True, slots=True)
class Filters:
    """Conditions that all hold; None asks for nothing. Times: from `since` on, before `until`."""

    actor_id: UUID | None = None
    action: Action | None = None
    outcome: Outcome | None = None
    object_type: str | None = None
    object_id: str | None = None
    department_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None


EVERYTHING = Filters()


def search(
    session: Session, filters: Filters = EVERYTHING, *, after: int | None = None, limit: int = 50
) -> Sequence[AuditEvent]:
    """The next events, newest first, that the session may see: its department's, or all with `auditor=True`.

    Args:
        after: `seq` of the last event of the page before; None begins with the newest.
    """
    events = sa.select(AuditEvent).where(*_conditions(filters)).order_by(AuditEvent.seq.desc()).limit(limit)
    if after is not None:
        events = events.where(AuditEvent.seq < after)
    return session.scalars(events).all()


def event_at(session: Session, seq: int) -> AuditEvent | None:
    """The event with this number, if the session may see it."""
    return session.get(AuditEvent, seq)


def _conditions(filters: Filters) -> list[sa.ColumnElement[bool]]:
    equal = ("actor_id", "action", "outcome", "object_type", "object_id", "department_id")
    conditions = [
        getattr(AuditEvent, name) == getattr(filters, name)
        for name in equal
        if getattr(filters, name) is not None
    ]
    if filters.since is not None:
        conditions.append(AuditEvent.recorded_at >= filters.since)
    if filters.until is not None:
        conditions.append(AuditEvent.recorded_at < filters.until)
    return conditions
