"""The rule alone; how it is kept in the database: tests/integration/test_guessing.py."""

from datetime import timedelta

import pytest

from dermabatch.accounts.guessing import OF_AN_ACCOUNT, OF_AN_ADDRESS

DAY = timedelta(days=1)


def looked_at(patience, *, guesses, within):
    """How many of so many guesses, evenly over a time, are compared with anything; all of them wrong."""
    step = within / guesses
    level, since, taken = 0.0, timedelta(0), 0
    for _ in range(guesses):
        left = patience.level(level, since)
        if since >= patience.wait(left):
            level, since, taken = left + 1, timedelta(0), taken + 1
        since += step
    return taken


@pytest.mark.parametrize(
    ("within", "expected"),
    [(timedelta(minutes=1), 11), (timedelta(hours=1), 16), (DAY, 21), (30 * DAY, 51)],
    ids=["a minute", "an hour", "a day", "thirty days"],
)
def test_of_10_000_guesses_at_an_account_so_many_are_looked_at(within, expected):
    assert looked_at(OF_AN_ACCOUNT, guesses=10_000, within=within) == expected


def test_of_10_000_guesses_from_one_address_over_many_accounts_so_many_are_looked_at():
    assert looked_at(OF_AN_ADDRESS, guesses=10_000, within=timedelta(hours=1)) == 160
    assert looked_at(OF_AN_ADDRESS, guesses=10_000, within=DAY) == 1540


def test_a_few_slips_cost_no_wait_and_more_a_little():
    waits = [OF_AN_ACCOUNT.wait(slips).total_seconds() for slips in (0, 9, 10, 11, 12)]
    assert waits == [0, 0, 30, 60, 120]


def test_a_wait_ends_at_its_longest():
    assert OF_AN_ACCOUNT.wait(1e9) == DAY


def test_a_clinic_behind_one_address_may_mistype_once_a_minute_for_ever():
    assert looked_at(OF_AN_ADDRESS, guesses=24 * 60, within=DAY) == 24 * 60
