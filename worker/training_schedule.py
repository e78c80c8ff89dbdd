"""Starts the training job when its time has come: at most once a day, as a process with a log of its own.

A program beside the scheduler, not a part of it: it signs in as the trainer, who can publish and never activate, and
runs where a training framework is installed. It leaves a candidate, or a model that its gate rejected, and the events
that say so. A person decides.
"""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Event

import sqlalchemy as sa
import structlog
from cronsim import CronSim, CronSimError
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from dermabatch.database import Sessions, connect
from dermabatch.errors import ConfigurationError, DermabatchError, ServiceUnavailable
from dermabatch.observability import configure_logging
from dermabatch.schema import ScheduledRun
from dermabatch.settings import RegistrySettings, load_registry_settings

log = structlog.get_logger(__name__)

JOB = "training"
LOG = "log.txt"

_LOOK_EVERY_SECONDS = 30
CATCH_UP = timedelta(hours=24)
"""A host that was down at the moment trains when it is back; one that is new does not train for last week."""
MOST_STARTS = 3
"""Of one day's job that went down with its host: a job that takes the host down must not do so for ever."""

# Any number works; it must only be ours. Whoever holds it runs the job of the day, or none.
_LOCK = 7_261_532_915


@dataclass(frozen=True)
class TrainingSchedule:
    """When to train, on what, and where to.

    Args:
        cron: five fields, in UTC.
        data: data set, as `dermabatch train` takes it.
        runs: gets a folder for each day.
        recipe: of the training; None takes the recipe of this release.
    """

    cron: str
    data: Path
    runs: Path
    recipe: Path | None = None

    @classmethod
    def from_settings(cls, settings: RegistrySettings) -> "TrainingSchedule":
        """
        Raises:
            ConfigurationError: there is no schedule, or cron would not take it.
        """
        if settings.training_schedule is None:
            raise ConfigurationError("Set DERMABATCH_TRAINING_SCHEDULE, such as: 0 1 * * 6")
        try:
            CronSim(settings.training_schedule, datetime.now(UTC))
        except CronSimError as error:
            raise ConfigurationError(
                f"Expected DERMABATCH_TRAINING_SCHEDULE as cron has it, such as: 0 1 * * 6."
                f" Received: {settings.training_schedule} ({error})"
            ) from None
        return cls(
            settings.training_schedule,
            settings.training_data,
            settings.training_runs,
            settings.training_recipe,
        )

    def last_time(self, now: datetime) -> datetime:
        """When a job was to start, the last time until now."""
        last: datetime = next(CronSim(self.cron, now + timedelta(seconds=1), reverse=True))
        return last

    def due_day(self, now: datetime) -> date | None:
        """The day whose time has come, if it came within the last 24 hours."""
        last = self.last_time(now)
        return last.date() if now - last < CATCH_UP else None

    def folder(self, day: date) -> Path:
        """Of that day's run: checkpoints, log, artifact."""
        return self.runs / day.isoformat()

    def command(self, day: date) -> list[str]:
        """The job. With --resume it goes on where the last start of the same day was stopped."""
        recipe = [] if self.recipe is None else ["--recipe", str(self.recipe)]
        train = [sys.executable, "-m", "cli.main", "train", str(self.data), *recipe]
        return [*train, "--out", str(self.folder(day)), "--resume", "--publish"]


def run(schedule: TrainingSchedule, sessions: Sessions, stop: Event) -> None:
    """Start what is due, until told to stop."""
    log.info("training_schedule_started", cron=schedule.cron)
    while not stop.is_set():
        try:
            start_if_due(schedule, sessions, stop)
        except (ServiceUnavailable, OperationalError) as error:
            log.warning("training_not_started", error=str(error), remedy="tried again in the next round")
        stop.wait(_LOOK_EVERY_SECONDS)


def start_if_due(schedule: TrainingSchedule, sessions: Sessions, stop: Event) -> None:
    """Run the job of the day, if its time has come and nobody else did or does; returns when it has ended."""
    day = schedule.due_day(datetime.now(UTC))
    if day is None:
        return
    with _leading(sessions) as leads:
        if leads and _take(sessions, day):
            _train(schedule, day, sessions, stop)


@contextmanager
def _leading(sessions: Sessions) -> Iterator[bool]:
    """Whether no other program of this kind is at work. A program that is killed loses the lock with its connection."""
    with sessions.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        leads = bool(connection.scalar(sa.select(sa.func.pg_try_advisory_lock(_LOCK))))
        try:
            yield leads
        finally:
            if leads:
                connection.execute(sa.select(sa.func.pg_advisory_unlock(_LOCK)))


def is_running(session: Session) -> bool:
    """Whether a program of this kind is at work: it runs the job, or is just looking whether it should."""
    high, low = divmod(_LOCK, 2**32)  # pg_locks shows a key of 64 bits in two halves
    held = sa.text("""
        SELECT EXISTS (
            SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
            WHERE locktype = 'advisory' AND granted AND datname = current_database()
              AND classid::bigint = :high AND objid::bigint = :low AND objsubid = 1
        )
    """)
    return bool(session.scalar(held, {"high": high, "low": low}))


def _take(sessions: Sessions, day: date) -> bool:
    """Whether that day's job is ours to run: nobody ran it yet, or it went down before its end."""
    claim = insert(ScheduledRun).values(job=JOB, day=day)
    claim = claim.on_conflict_do_update(
        index_elements=[ScheduledRun.job, ScheduledRun.day],
        set_={"starts": ScheduledRun.starts + 1},
        where=ScheduledRun.ended_at.is_(None) & (ScheduledRun.starts < MOST_STARTS),
    )
    with sessions.begin() as session:
        return session.scalar(claim.returning(ScheduledRun.starts)) is not None


def _train(schedule: TrainingSchedule, day: date, sessions: Sessions, stop: Event) -> None:
    folder = schedule.folder(day)
    folder.mkdir(parents=True, exist_ok=True)
    log.info("training_started", day=day.isoformat(), log=str(folder / LOG))
    with (folder / LOG).open("ab") as output:
        process = subprocess.Popen(schedule.command(day), stdout=output, stderr=output)
        while process.poll() is None:
            if stop.wait(1):
                process.terminate()
                process.wait()
                log.warning("training_stopped", day=day.isoformat(), remedy="goes on at the next start")
                return
    _note_end(sessions, day, process.returncode)
    report = log.info if process.returncode == 0 else log.error
    report("training_ended", day=day.isoformat(), exit_code=process.returncode, log=str(folder / LOG))


def _note_end(sessions: Sessions, day: date, exit_code: int) -> None:
    with sessions.begin() as session:
        row = session.get_one(ScheduledRun, (JOB, day))
        row.ended_at = session.scalar(sa.select(sa.func.clock_timestamp()))
        row.exit_code = exit_code


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    settings = load_registry_settings()
    configure_logging(settings)
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with closing(connect(settings.database_url.get_secret_value())) as sessions:
        run(TrainingSchedule.from_settings(settings), sessions, stop)


if __name__ == "__main__":
    try:
        main()
    except DermabatchError as error:
        sys.exit(f"training schedule: {error}")
