"""What `dermabatch doctor` says of the training that the clock starts: of its last run, or of one that is missing."""

from datetime import UTC, datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dermabatch import accounts
from dermabatch.database import Sessions
from dermabatch.schema import Model, ScheduledRun, User
from dermabatch.settings import RegistrySettings
from worker.training_schedule import CATCH_UP, JOB, LOG, MOST_STARTS, TrainingSchedule, is_running

LONGEST: Final = timedelta(days=3)
"""A run that takes longer hangs: a host with two cores needs a night."""
_SOON: Final = timedelta(minutes=5)
"""Whoever starts jobs looks twice a minute."""

Finding = tuple[bool, str, str]
"""Whether all is well, what was found, and the remedy."""


def look_at_training(sessions: Sessions, settings: RegistrySettings, now: datetime | None = None) -> Finding:
    """Whether the last job that was due was started, and what became of it.

    Args:
        sessions: of any role.
        settings: where `training_schedule` is not set, a job that was never started is not missed.
        now: for tests.

    Raises:
        ConfigurationError: the schedule is none.
    """
    now = now or datetime.now(UTC)
    newest_first = sa.select(ScheduledRun).where(ScheduledRun.job == JOB).order_by(ScheduledRun.day.desc())
    with sessions.begin() as session:
        run = session.scalar(newest_first.limit(1))
        if run is not None and run.ended_at is None and is_running(session):
            return _running(run, settings, now)
        if missed := _missed(run, settings, now):
            return _not_started(missed, settings)
        if run is None:
            return True, "the clock has started no run", ""
        return _over(run, session, settings)


def _missed(run: ScheduledRun | None, settings: RegistrySettings, now: datetime) -> datetime | None:
    """The last time for a job, if none was started then and somebody should have."""
    if settings.training_schedule is None:
        return None
    last = TrainingSchedule.from_settings(settings).last_time(now)
    if now - last < _SOON or (run is not None and run.day >= last.date()):
        return None
    # Where there has never been one, the schedule may be newer than that time; a day after it nobody catches up.
    return None if run is None and now - last >= CATCH_UP else last


def _not_started(missed: datetime, settings: RegistrySettings) -> Finding:
    return (
        False,
        f"no run was started on {missed:%Y-%m-%d at %H:%M} UTC",
        "Start dermabatch scheduler --training, which catches up within 24 hours; later, by hand:"
        f" {_by_hand(settings, missed.date().isoformat())}",
    )


def _running(run: ScheduledRun, settings: RegistrySettings, now: datetime) -> Finding:
    since = f"the run of {run.day} has been running since {run.started_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    remedy = (
        f"{_read_log(run, settings)} If it stands still, restart dermabatch scheduler --training: it goes on."
    )
    return now - run.started_at < LONGEST, since, remedy


def _over(run: ScheduledRun, session: Session, settings: RegistrySettings) -> Finding:
    if left := _published_since(run, session):
        return True, f"the run of {run.day} left {left.name} ({left.digest[:12]}), {left.state.value}", ""
    if run.exit_code == 0:
        return True, f"the run of {run.day} ended well", ""
    remedy = f"{_read_log(run, settings)} Then go on by hand: {_by_hand(settings, run.day.isoformat())}"
    if run.exit_code is not None:
        return False, f"the run of {run.day} {_ended(run.exit_code)}", remedy
    if run.starts < MOST_STARTS:
        remedy = f"Start dermabatch scheduler --training, which goes on within 24 hours. Else: {remedy}"
        return False, f"the run of {run.day} was stopped in the middle", remedy
    return False, f"the run of {run.day} was stopped {run.starts} times in the middle and is given up", remedy


def _published_since(run: ScheduledRun, session: Session) -> Model | None:
    """What the job, or somebody who went on with it, has published. One that the gate rejected ends the job with 1."""
    by_the_job = Model.publisher.has(User.email == accounts.TRAINER) & (Model.published_at >= run.started_at)
    return session.scalar(sa.select(Model).where(by_the_job).order_by(Model.published_at.desc()).limit(1))


def _ended(exit_code: int) -> str:
    return f"was killed by signal {-exit_code}" if exit_code < 0 else f"failed with exit code {exit_code}"


def _read_log(run: ScheduledRun, settings: RegistrySettings) -> str:
    return f"Read {settings.training_runs / run.day.isoformat() / LOG}."


def _by_hand(settings: RegistrySettings, day: str) -> str:
    return (
        f"dermabatch train {settings.training_data} --out {settings.training_runs / day} --resume --publish"
    )
