"""Looks whether scheduled screenings started, go on and will be done in time; raises each alert once a night."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Event
from typing import Final

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from dermabatch.alerts import Alert, Channel
from dermabatch.database import Sessions
from dermabatch.errors import ServiceUnavailable
from dermabatch.identifiers import new_id
from dermabatch.lifecycle import ScreeningState
from dermabatch.schema import Chunk
from dermabatch.screening.counting import RunReport, report_of
from dermabatch.screening.runs import INTERRUPTED
from dermabatch.screening.schedules import Due, last_due
from dermabatch.screening.tables import (
    AlertKind,
    Rescoring,
    ScreeningAlert,
    ScreeningRun,
    ScreeningUpload,
)
from dermabatch.settings import NightRun

log = structlog.get_logger(__name__)

LATE_START: Final = timedelta(minutes=15)
STALLED_AFTER: Final = timedelta(minutes=15)
"""Longer than any upload of 512 files takes, or any chunk until it is given to somebody else."""

_SURE_AFTER: Final = timedelta(minutes=10)
"""A speed that was measured for less than this says nothing of the night."""

_WATCHED: Final = timedelta(hours=24)
_LOOK_SECONDS: Final = 60
_TRY_AGAIN: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class _Trouble:
    kind: AlertKind
    message: str


class NightWatch:
    """The scheduler's part in screening. Any number may watch: whoever inserts an alert's row has raised it.

    Args:
        sessions: of the worker's role, which sees every department.
        time_zone: of the hospital.
    """

    def __init__(
        self,
        schedules: Sequence[NightRun],
        *,
        time_zone: str,
        sessions: Sessions,
        channels: Sequence[Channel],
    ) -> None:
        self._schedules = schedules
        self._time_zone = time_zone
        self._sessions = sessions
        self._channels = channels

    def run(self, stop: Event) -> None:
        """Look every minute until told to stop."""
        while not stop.is_set():
            try:
                self.look()
            except ServiceUnavailable as error:
                log.warning("nights_not_watched", error=str(error), remedy="tried again in the next round")
            stop.wait(_LOOK_SECONDS)

    def look(self, now: datetime | None = None) -> None:
        """One round.

        Args:
            now: the database's time if not given, so that all who watch agree.
        """
        for schedule in self._schedules:
            with self._sessions.begin() as session:
                moment = now or session.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
                due = last_due(schedule, self._time_zone, moment)
                if due is not None and moment - due.starts_at < _WATCHED:
                    for trouble in _troubles(session, schedule, due, moment):
                        _raise_once(session, schedule, due, trouble)
        self._deliver()

    def _deliver(self) -> None:
        with self._sessions.begin() as session:
            waiting = session.scalars(
                sa.update(ScreeningAlert)
                .where(
                    ScreeningAlert.delivered_at.is_(None),
                    ScreeningAlert.raised_at > sa.func.clock_timestamp() - _WATCHED,
                    sa.or_(
                        ScreeningAlert.tried_at.is_(None),
                        ScreeningAlert.tried_at < sa.func.clock_timestamp() - _TRY_AGAIN,
                    ),
                )
                .values(tried_at=sa.func.clock_timestamp())
                .returning(ScreeningAlert)
            ).all()
        # No transaction is open while others' servers answer.
        for alert in waiting:
            if self._tell(alert):
                with self._sessions.begin() as session:
                    session.execute(
                        sa.update(ScreeningAlert)
                        .where(ScreeningAlert.id == alert.id)
                        .values(delivered_at=sa.func.clock_timestamp())
                    )

    def _tell(self, row: ScreeningAlert) -> bool:
        alert = Alert(
            id=str(row.id),
            kind=row.kind.value,
            about=f"{row.name} of {row.night.isoformat()}",
            message=row.message,
            raised_at=row.raised_at.isoformat(),
        )
        told = True
        for channel in self._channels:
            try:
                channel.deliver(alert)
            except ServiceUnavailable as error:
                told = False
                log.warning("alert_not_delivered", alert=alert.id, error=str(error), remedy="tried again")
        return told


def _troubles(session: Session, schedule: NightRun, due: Due, now: datetime) -> list[_Trouble]:
    row = session.scalar(
        sa.select(ScreeningRun).where(ScreeningRun.name == schedule.name, ScreeningRun.night == due.night)
    )
    if row is None:
        if now < due.starts_at + LATE_START:
            return []
        message = f"It was to start at {due.starts_at:%H:%M} UTC and did not: see whether `scheduler --nights` runs."
        return [_Trouble(AlertKind.NOT_STARTED, message)]
    report = report_of(session, row.id)
    found = [_stopped(row, now), _stalled(session, row, now), _late(report, now)]
    return [trouble for trouble in found if trouble is not None]


def _stopped(row: ScreeningRun, now: datetime) -> _Trouble | None:
    if row.state is not ScreeningState.STOPPED:
        return None
    # A deployment stops it, and the next start goes on within a minute.
    if row.stopped_by == INTERRUPTED and now - row.progress_at < STALLED_AFTER:
        return None
    return _Trouble(
        AlertKind.STOPPED, f"It was stopped ({row.stopped_by}). What was taken in stays; it is tried again."
    )


def _stalled(session: Session, row: ScreeningRun, now: datetime) -> _Trouble | None:
    if row.state not in (ScreeningState.LISTING, ScreeningState.CLASSIFYING):
        return None
    last = max(row.progress_at, _last_chunk(session, row) or row.progress_at)
    if now - last < STALLED_AFTER:
        return None
    return _Trouble(AlertKind.STALLED, f"Nothing has moved since {last:%H:%M} UTC; it is {row.state}.")


def _late(report: RunReport, now: datetime) -> _Trouble | None:
    if report.deadline is None:
        return None
    end = report.completed_at or _expected_end(report, now)
    if end <= report.deadline:
        return None
    return _Trouble(
        AlertKind.LATE,
        f"It was to be done by {report.deadline:%H:%M} UTC; {report.outstanding} images wait, and"
        f" {'it was done' if report.completed_at else 'at this speed it is done'} at {end:%H:%M} UTC.",
    )


def _expected_end(report: RunReport, now: datetime) -> datetime:
    """At the speed of this run so far; now, where that is not known yet."""
    elapsed = now - report.started_at
    done = sum(report.triage.values())
    if elapsed < _SURE_AFTER or done == 0:
        return now
    return now + report.outstanding * (elapsed / done)


def _last_chunk(session: Session, row: ScreeningRun) -> datetime | None:
    batches = sa.select(ScreeningUpload.id).where(ScreeningUpload.run_id == row.id)
    shown = sa.select(Rescoring.chunk_id).where(Rescoring.run_id == row.id)
    return session.scalar(
        sa.select(sa.func.max(Chunk.finished_at)).where(
            sa.or_(Chunk.batch_id.in_(batches), Chunk.id.in_(shown))
        )
    )


def _raise_once(session: Session, schedule: NightRun, due: Due, trouble: _Trouble) -> None:
    raised = session.scalar(
        insert(ScreeningAlert)
        .values(
            id=new_id(),
            name=schedule.name,
            night=due.night,
            kind=trouble.kind,
            message=f"Night run {schedule.name} of {due.night.isoformat()}: {trouble.message}",
        )
        .on_conflict_do_nothing(index_elements=["name", "night", "kind"])
        .returning(ScreeningAlert.id)
    )
    if raised is not None:
        log.error("night_run_alert", kind=trouble.kind, schedule=schedule.name, night=due.night.isoformat())
