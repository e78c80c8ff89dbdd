"""The doctor looks at the training that the clock starts."""

import sys
import threading
from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa

from cli.training_check import LONGEST, look_at_training
from dermabatch import accounts
from dermabatch.embedded.host import wait_until
from dermabatch.lifecycle import ModelState
from dermabatch.schema import Model, ScheduledRun, User
from dermabatch.settings import RegistrySettings
from tests.situations import gate_result, open_hospital, tiny_manifest
from worker.training_schedule import JOB, MOST_STARTS, TrainingSchedule, start_if_due

SATURDAY = date(2026, 11, 21)
AT_ONE = datetime(2026, 11, 21, 1, tzinfo=UTC)
FOLDER = "/runs/2026-11-21"


@pytest.fixture
def trainer(database):
    return database.sessions("trainer")


@pytest.fixture
def ran(trainer):
    """Notes a run of that Saturday, or of a day before."""

    def _ran(*, day=SATURDAY, exit_code=None, starts=1):
        ended = None if exit_code is None else AT_ONE + timedelta(hours=9)
        run = ScheduledRun(
            job=JOB, day=day, started_at=AT_ONE, starts=starts, ended_at=ended, exit_code=exit_code
        )
        with trainer.begin() as session:
            session.add(run)

    return _ran


@pytest.fixture
def look(database):
    """What the doctor says at a moment; it has the worker's role."""

    def _look(after=timedelta(hours=10), schedule=None):
        settings = RegistrySettings(
            database_url=database.url("worker"),
            s3_endpoint="http://127.0.0.1:1",
            s3_access_key="a",
            s3_secret_key="b",
            verify_key="A" * 43 + "=",
            training_schedule=schedule,
        )
        return look_at_training(database.sessions("worker"), settings, AT_ONE + after)

    return _look


def test_where_nothing_is_scheduled_nothing_is_missed(look):
    assert look() == (True, "the clock has started no run", "")


def test_a_run_that_ended_well_is_well(look, ran):
    ran(exit_code=0)
    assert look() == (True, "the run of 2026-11-21 ended well", "")


@pytest.mark.parametrize(
    ("exit_code", "said"), [(2, "failed with exit code 2"), (-9, "was killed by signal 9")]
)
def test_a_run_that_failed_is_told_with_its_log_and_how_to_go_on(look, ran, exit_code, said):
    ran(exit_code=exit_code)
    ok, finding, remedy = look()
    assert (ok, finding) == (False, f"the run of 2026-11-21 {said}")
    assert f"Read {FOLDER}/log.txt" in remedy
    assert f"train /data --out {FOLDER} --resume --publish" in remedy


def test_a_later_run_that_ended_well_clears_an_earlier_failure(look, ran):
    ran(day=SATURDAY - timedelta(days=7), exit_code=2)
    ran(exit_code=0)
    assert look()[0]


def test_a_run_whose_model_the_gate_rejected_did_what_it_should(look, ran, database):
    open_hospital(database.sessions("web"))
    ran(exit_code=1)
    with database.sessions("trainer").begin() as session:
        who = session.scalar(sa.select(User.id).where(User.email == accounts.TRAINER))
        judged = gate_result(passed=False).as_json()
        manifest = tiny_manifest().model_dump(mode="json")
        session.add(
            Model(
                digest="c" * 64,
                name="tiny-1",
                state=ModelState.REJECTED,
                manifest=manifest,
                signature=b"\0" * 64,
                published_by=who,
                published_at=AT_ONE + timedelta(hours=9),
                gate=judged,
            )
        )
    assert look() == (True, "the run of 2026-11-21 left tiny-1 (cccccccccccc), rejected", "")


def test_a_run_that_was_stopped_too_often_is_given_up(look, ran):
    ran(starts=MOST_STARTS)
    ok, finding, remedy = look()
    assert not ok
    assert finding.endswith("is given up")
    assert "scheduler" not in remedy, "that does not start it again"


def test_a_run_at_work_is_well_unless_it_takes_for_ever_and_one_that_was_stopped_is_not(
    look, trainer, tmp_path, monkeypatch
):
    sleeps = [sys.executable, "-c", "import time; time.sleep(600)"]
    monkeypatch.setattr(TrainingSchedule, "command", lambda self, day: sleeps)
    stop = threading.Event()
    schedule = TrainingSchedule("* * * * *", tmp_path, tmp_path)
    runner = threading.Thread(target=start_if_due, args=(schedule, trainer, stop))
    runner.start()
    try:
        assert wait_until(lambda: "has been running since" in look()[1], seconds=20)
        now = datetime.now(UTC) - AT_ONE
        assert look(after=now)[0]
        assert not look(after=now + LONGEST)[0]
    finally:
        stop.set()
        runner.join(timeout=20)
    ok, finding, remedy = look(after=now)
    assert not ok
    assert finding.endswith("was stopped in the middle")
    assert "scheduler --training" in remedy


@pytest.mark.parametrize(
    ("after", "earlier_run", "missed"),
    [
        (timedelta(minutes=1), False, False),  # whoever starts it has not looked yet
        (timedelta(hours=1), False, True),
        (timedelta(days=3), False, False),  # the schedule may be newer than that Saturday
        (timedelta(days=3), True, True),
    ],
)
def test_a_run_that_nobody_started_is_missed(look, ran, after, earlier_run, missed):
    if earlier_run:
        ran(day=SATURDAY - timedelta(days=7), exit_code=0)
    ok, finding, remedy = look(after=after, schedule="0 1 * * 6")
    assert ok is not missed
    if missed:
        assert finding == "no run was started on 2026-11-21 at 01:00 UTC"
        assert "Start dermabatch scheduler --training" in remedy


def test_a_run_that_was_started_is_not_missed(look, ran):
    ran(exit_code=0)
    assert look(after=timedelta(days=3), schedule="0 1 * * 6")[0]
