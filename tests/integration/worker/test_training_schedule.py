"""The training job runs at most once a day, goes on after a restart, and signs in as the trainer."""

import sys
import threading
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa

from dermabatch import model_store
from dermabatch.embedded.host import wait_until
from dermabatch.lifecycle import ModelState
from dermabatch.objects import S3ObjectStore
from dermabatch.schema import ScheduledRun
from dermabatch.settings import RegistrySettings
from tests.painted_lesions import write_painted_lesions
from tests.situations import open_hospital
from worker.training_schedule import LOG, TrainingSchedule, start_if_due

ALWAYS_DUE = "* * * * *"


@pytest.fixture
def trainer(database):
    return database.sessions("trainer")


@pytest.fixture
def schedule(tmp_path, monkeypatch):
    """A job of one line in place of hours of training: it notes each of its starts and does what `job.py` says."""
    monkeypatch.setattr(
        TrainingSchedule,
        "command",
        lambda self, day: [sys.executable, str(self.data / "job.py"), str(self.folder(day))],
    )
    write_job(tmp_path, "")
    return TrainingSchedule(ALWAYS_DUE, tmp_path, tmp_path / "runs")


def write_job(folder: Path, does: str) -> None:
    begin = "import sys, pathlib; pathlib.Path(sys.argv[1], 'starts').open('a').write('x'); print('it runs')"
    (folder / "job.py").write_text(f"{begin}\n{does}\n")


def starts(schedule):
    return sum(path.read_text().count("x") for path in schedule.runs.glob("*/starts"))


def rows(trainer):
    with trainer.begin() as session:
        return list(session.scalars(sa.select(ScheduledRun)))


def test_a_job_runs_once_on_its_day_and_its_end_is_noted(schedule, trainer):
    for _ in range(3):
        start_if_due(schedule, trainer, threading.Event())
    (row,) = rows(trainer)
    assert (row.job, row.exit_code, row.starts) == ("training", 0, 1)
    assert row.ended_at is not None
    assert starts(schedule) == 1
    assert "it runs" in (schedule.folder(row.day) / LOG).read_text()


def test_a_job_that_fails_is_not_tried_again_the_same_day(schedule, trainer):
    write_job(schedule.data, "sys.exit(2)")
    for _ in range(2):
        start_if_due(schedule, trainer, threading.Event())
    (row,) = rows(trainer)
    assert (row.exit_code, starts(schedule)) == (2, 1)


def test_of_schedulers_that_look_at_once_one_runs_the_job(schedule, trainer):
    threads = [
        threading.Thread(target=start_if_due, args=(schedule, trainer, threading.Event())) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert starts(schedule) == 1


def test_a_job_that_was_stopped_goes_on_at_the_next_start_but_not_for_ever(schedule, trainer):
    write_job(schedule.data, "import time; time.sleep(600)")
    for expected in (1, 2, 3, 3):
        stop = threading.Event()
        runner = threading.Thread(target=start_if_due, args=(schedule, trainer, stop))
        runner.start()
        assert wait_until(lambda: not runner.is_alive() or starts(schedule) == expected, seconds=20)  # noqa: B023
        stop.set()
        runner.join(timeout=20)
        assert starts(schedule) == expected
    (row,) = rows(trainer)
    assert (row.starts, row.ended_at) == (3, None)


OF_TRAINING = (
    *("DATABASE_URL", "SIGNING_KEY", "VERIFY_KEY"),
    *("S3_ENDPOINT", "S3_BUCKET", "S3_ACCESS_KEY", "S3_SECRET_KEY"),
)
SMALL_NETWORK = ("--network", "baseline_cnn", "--input-size", "32", "--epochs", "2", "--weights", "none")


@pytest.fixture
def as_the_training_job(monkeypatch, services, database):
    """The environment of the job: what it needs to publish, and nothing else of the installation."""
    open_hospital(database.sessions("web"))
    values = services.environment("trainer", database.name) | {"DERMABATCH_S3_BUCKET": f"test-{uuid4()}"}
    for name in OF_TRAINING:
        monkeypatch.setenv(f"DERMABATCH_{name}", values[f"DERMABATCH_{name}"])
    S3ObjectStore.from_settings(RegistrySettings()).ensure_bucket()


@pytest.mark.long
def test_the_job_trains_and_leaves_a_candidate_that_nobody_has_activated(
    tmp_path, database, as_the_training_job, monkeypatch
):
    write_painted_lesions(tmp_path)
    schedule = TrainingSchedule(ALWAYS_DUE, tmp_path, tmp_path / "runs")
    command = TrainingSchedule.command
    monkeypatch.setattr(TrainingSchedule, "command", lambda self, day: [*command(self, day), *SMALL_NETWORK])
    start_if_due(schedule, database.sessions("trainer"), threading.Event())
    (row,) = rows(database.sessions("trainer"))
    assert row.exit_code == 0, (schedule.folder(row.day) / LOG).read_text()
    with database.sessions("web").begin() as session:
        (model,) = model_store.list_models(session)
        assert (model.state, model.publisher.email) == (ModelState.CANDIDATE, "trainer@service.invalid")
        assert model_store.active_digest(session) is None
