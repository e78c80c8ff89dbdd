"""When the training job is due, and what it is."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from dermabatch.errors import ConfigurationError
from dermabatch.settings import RegistrySettings
from worker.training_schedule import TrainingSchedule

SATURDAYS_AT_ONE = TrainingSchedule("0 1 * * 6", Path("/data"), Path("/runs"))
SATURDAY = date(2026, 11, 21)
KEY = "A" * 43 + "="


def at(day, hour, minute=0):
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "due"),
    [
        (at(21, 0, 59), None),  # a minute early: the last time was a week ago
        (at(21, 1), SATURDAY),
        (at(21, 1, 30), SATURDAY),
        (at(22, 0, 59), SATURDAY),  # the host was down all Saturday
        (at(22, 1), None),
        (at(25, 12), None),
    ],
)
def test_a_job_is_due_from_its_time_on_for_a_day(now, due):
    assert SATURDAYS_AT_ONE.due_day(now) == due


def test_the_job_is_train_publish_in_a_folder_of_the_day_and_goes_on_where_it_was():
    command = SATURDAYS_AT_ONE.command(SATURDAY)
    assert command[1:] == [
        *("-m", "cli.main", "train", "/data", "--out", "/runs/2026-11-21"),
        *("--resume", "--publish"),
    ]


def test_a_recipe_is_handed_on():
    schedule = TrainingSchedule("0 1 * * 6", Path("/data"), Path("/runs"), Path("/data/recipe.json"))
    command = schedule.command(SATURDAY)
    assert command[command.index("--recipe") + 1] == "/data/recipe.json"


@pytest.mark.parametrize(
    ("cron", "said"), [(None, "Set DERMABATCH_TRAINING_SCHEDULE"), ("at night", "at night")]
)
def test_a_schedule_that_is_none_is_refused_with_an_example(cron, said):
    settings = RegistrySettings(
        database_url="postgresql+psycopg2://nobody@nowhere/nothing",
        s3_endpoint="http://127.0.0.1:1",
        s3_access_key="a",
        s3_secret_key="b",
        verify_key=KEY,
        training_schedule=cron,
    )
    with pytest.raises(ConfigurationError, match=said) as refusal:
        TrainingSchedule.from_settings(settings)
    assert "0 1 * * 6" in str(refusal.value)
