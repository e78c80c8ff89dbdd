"""Whether events wait for the chainer longer than they should."""

import time
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

_LOOK = sa.text("SELECT waiting, late, now_seen::text FROM audit_backlog(CAST(:seen AS pg_snapshot))")
_NOTHING_SEEN = "1:1:"


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many events wait to be chained, and how many of them wait for longer than the watch allows."""

    waiting: int
    late: int


class BacklogWatch:
    """Looks at the events that wait, from any program and role.

    An event's own time does not tell how long it has waited: a transaction may have been open for minutes
    after it. So a watch remembers what was visible at an earlier look, and calls late what was there already.

    Args:
        late_seconds: how far apart two looks must be before anything is called late.
    """

    def __init__(self, late_seconds: float = 5) -> None:
        self._late_seconds = late_seconds
        self._seen = _NOTHING_SEEN
        self._seen_at = time.monotonic()

    def look(self, session: Session) -> Backlog:
        """Count what waits. The first look of a watch finds nothing late."""
        ripe = time.monotonic() - self._seen_at >= self._late_seconds
        waiting, late, now_seen = session.execute(
            _LOOK, {"seen": self._seen if ripe else _NOTHING_SEEN}
        ).one()
        if ripe or self._seen == _NOTHING_SEEN:
            self._seen, self._seen_at = now_seen, time.monotonic()
        return Backlog(waiting, late)
