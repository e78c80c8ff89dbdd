"""A night run is due by the clock on the hospital's wall: once a day, also when that clock is put forward or back."""

from datetime import UTC, date, datetime, time, timedelta

import pytest

from dermabatch.screening.schedules import last_due
from dermabatch.settings import NightRun

VIENNA = "Europe/Vienna"
HALF_PAST_TWO = NightRun(name="archive", source="/archive", cron="30 2 * * *", deadline=time(6))
TEN_IN_THE_EVENING = NightRun(name="archive", source="/archive", cron="0 22 * * *", deadline=time(6, 30))


def utc(*moment):
    return datetime(*moment, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "night"),
    [
        (utc(2026, 11, 23, 20, 59), date(2026, 11, 22)),
        (utc(2026, 11, 23, 21, 0), date(2026, 11, 23)),
        (utc(2026, 11, 24, 5, 0), date(2026, 11, 23)),
    ],
)
def test_a_night_is_named_by_the_day_on_which_it_begins(now, night):
    assert last_due(TEN_IN_THE_EVENING, VIENNA, now).night == night


def test_the_deadline_is_the_first_of_its_kind_after_the_start():
    due = last_due(TEN_IN_THE_EVENING, VIENNA, utc(2026, 11, 23, 23, 0))
    assert due.deadline == utc(2026, 11, 24, 5, 30)


def test_in_spring_the_time_that_is_left_out_begins_when_the_clock_has_been_put_forward():
    # 2027-03-28: 02:00 becomes 03:00 at 01:00 UTC.
    assert last_due(HALF_PAST_TWO, VIENNA, utc(2027, 3, 28, 1, 29)).night == date(2027, 3, 27)
    due = last_due(HALF_PAST_TWO, VIENNA, utc(2027, 3, 28, 1, 30))
    assert (due.night, due.starts_at) == (date(2027, 3, 28), utc(2027, 3, 28, 1, 30))


def test_in_autumn_the_time_that_comes_twice_begins_the_first_time():
    # 2026-10-25: 03:00 becomes 02:00 at 01:00 UTC.
    due = last_due(HALF_PAST_TWO, VIENNA, utc(2026, 10, 25, 0, 30))
    assert (due.night, due.starts_at) == (date(2026, 10, 25), utc(2026, 10, 25, 0, 30))
    again = last_due(HALF_PAST_TWO, VIENNA, utc(2026, 10, 25, 1, 45))
    assert again.starts_at == due.starts_at


def test_a_deadline_after_a_change_is_the_one_on_the_wall():
    spring = last_due(TEN_IN_THE_EVENING, VIENNA, utc(2027, 3, 27, 22, 0))
    autumn = last_due(TEN_IN_THE_EVENING, VIENNA, utc(2026, 10, 24, 22, 0))
    assert (spring.deadline, autumn.deadline) == (utc(2027, 3, 28, 4, 30), utc(2026, 10, 25, 5, 30))
    assert spring.deadline - spring.starts_at == timedelta(hours=7, minutes=30)
    assert autumn.deadline - autumn.starts_at == timedelta(hours=9, minutes=30)


@pytest.mark.parametrize("zone", [VIENNA, "America/New_York", "Australia/Lord_Howe", "UTC", "Asia/Kathmandu"])
@pytest.mark.parametrize("schedule", [HALF_PAST_TWO, TEN_IN_THE_EVENING])
def test_every_day_of_a_year_is_due_once_and_in_order(zone, schedule):
    """Seen by somebody who looks every two hours."""
    moment = utc(2026, 1, 1, 12)
    dues = []
    for _ in range(12 * 365):
        due = last_due(schedule, zone, moment)
        if not dues or dues[-1] != due:
            dues.append(due)
        moment += timedelta(hours=2)
    nights = [due.night for due in dues]
    assert nights == [nights[0] + timedelta(days=place) for place in range(len(nights))]
    assert len(nights) in (365, 366)
