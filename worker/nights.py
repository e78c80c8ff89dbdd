"""Starts the scheduled screenings when their time has come, each once a night, and goes on with those that stopped.

A program beside the scheduler: it signs in as the portal does, sees one department at a time, and acts as the service
principal `night-run`. The scheduler watches it.
"""

import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import datetime, timedelta
from threading import Event
from typing import Final
from uuid import UUID

import sqlalchemy as sa
import structlog

from dermabatch import accounts
from dermabatch.database import connect
from dermabatch.durability import require_durability
from dermabatch.errors import ConfigurationError, DermabatchError
from dermabatch.lifecycle import ScreeningState
from dermabatch.observability import configure_logging
from dermabatch.production import require_production
from dermabatch.screening.attempt import Means
from dermabatch.screening.counting import RunReport
from dermabatch.screening.runs import INTERRUPTED, Night, Wish
from dermabatch.screening.schedules import Due, last_due
from dermabatch.screening.screening import screen
from dermabatch.screening.sources import open_source
from dermabatch.screening.tables import ScreeningRun
from dermabatch.settings import NightRun, load_settings

log = structlog.get_logger(__name__)

_LOOK_EVERY_SECONDS: Final = 30
TRY_AGAIN: Final = timedelta(minutes=5)
"""What stopped a run, a source that was away for instance, is given this long before the next start."""

_SOURCE: Final = "night run"


def run(means: Means, stop: Event) -> None:
    """Start what is due, until told to stop; one thread for each schedule, so that none waits for another.

    Raises:
        ConfigurationError: nothing is scheduled.
    """
    schedules = means.settings.night_runs
    if not schedules:
        raise ConfigurationError(
            "Set DERMABATCH_NIGHT_RUNS, such as:"
            ' [{"name": "archive", "cron": "0 22 * * *", "source": "s3://archive/"}]'
        )
    log.info("nights_started", schedules=[schedule.name for schedule in schedules])
    with ThreadPoolExecutor(len(schedules), thread_name_prefix="night") as threads:
        following = [threads.submit(_follow, schedule, means, stop) for schedule in schedules]
        for thread in following:
            # One that ends by a bug must not go unnoticed: all end, and the supervisor starts the program again.
            thread.add_done_callback(lambda _: stop.set())
    for thread in following:
        thread.result()


def _follow(schedule: NightRun, means: Means, stop: Event) -> None:
    while not stop.is_set():
        try:
            start_if_due(schedule, means=means, stop=stop)
        except (DermabatchError, OSError) as error:
            log.warning("night_run_stopped", schedule=schedule.name, error=type(error).__name__)
        stop.wait(_LOOK_EVERY_SECONDS)


def start_if_due(
    schedule: NightRun,
    *,
    means: Means,
    stop: Event,
    now: Callable[[Means], datetime] | None = None,
    tell: Callable[..., None] = lambda _progress: None,
) -> RunReport | None:
    """Screen, if the time has come and this night's run is not done; returns when it has ended. Raises as `screen`.

    Args:
        now: the database's time if not given, so that all schedulers agree.
    """
    moment = (now or _database_time)(means)
    due = last_due(schedule, means.settings.time_zone, moment)
    if due is None or moment >= due.until:
        return None
    with means.sessions.begin() as session:
        actor = accounts.find_actor(session, accounts.NIGHT_RUN, source=_SOURCE)
        department_id = accounts.find_department(session, schedule.department).id
    if _is_done_or_rests(schedule, due, moment, means, department_id):
        return None
    assert actor.id is not None
    with closing(open_source(schedule.source, means.settings)) as source:
        wish = Wish(
            source=source.kind,
            identity=source.identity,
            department_id=department_id,
            started_by=actor.id,
            night=Night(schedule.name, due.night, due.deadline, schedule.budget),
        )
        log.info("night_run_started", schedule=schedule.name, night=due.night.isoformat())
        report = screen(source, wish, means=means, actor=actor, stop=stop, tell=tell)
    if report is not None:
        log.info("night_run_completed", schedule=schedule.name, files=report.files.line())
    return report


def _is_done_or_rests(
    schedule: NightRun, due: Due, moment: datetime, means: Means, department_id: UUID
) -> bool:
    with means.sessions.begin(department=department_id) as session:
        row = session.scalar(
            sa.select(ScreeningRun).where(ScreeningRun.name == schedule.name, ScreeningRun.night == due.night)
        )
    if row is None:
        return False
    if row.state is ScreeningState.STOPPED:
        return moment - row.progress_at < TRY_AGAIN and row.stopped_by != INTERRUPTED
    return row.state is ScreeningState.COMPLETED


def _database_time(means: Means) -> datetime:
    with means.sessions.begin() as session:
        moment: datetime = session.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return moment


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    settings = load_settings()
    configure_logging(settings)
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with ExitStack() as stack:
        sessions = stack.enter_context(closing(connect(settings.database_url.get_secret_value())))
        require_production(settings, sessions)
        require_durability(sessions)
        run(Means.open(settings, sessions, stack), stop)


if __name__ == "__main__":
    try:
        main()
    except DermabatchError as error:
        sys.exit(f"nights: {error}")
