"""Counting guesses, in PostgreSQL and in the order in which they come."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa

from dermabatch.accounts.devices import remember_device
from dermabatch.accounts.guessing import GuessLimit, forget_old_guesses
from dermabatch.accounts.sessions import Origin
from dermabatch.accounts.tables import GuessCounter, KnownDevice
from dermabatch.errors import TooManyGuesses
from tests.situations import SALT

NURSE = "nurse@hospital.example"
OUTSIDE = Origin("203.0.113.9")
WARD = Origin("10.0.0.7")
LIMIT = GuessLimit(SALT)


@pytest.fixture
def guess(sessions):
    """One wrong guess; says whether it was looked at."""

    def _guess(email=NURSE, origin=OUTSIDE):
        try:
            with sessions.begin() as session:
                LIMIT.count(session, email, origin)
        except TooManyGuesses:
            return False
        return True

    return _guess


@pytest.fixture
def later(sessions):
    """Lets time pass for what was counted."""

    def _later(time):
        with sessions.begin() as session:
            session.execute(
                sa.update(GuessCounter).values(
                    counted_at=GuessCounter.counted_at - time, forgotten_at=GuessCounter.forgotten_at - time
                )
            )

    return _later


@pytest.fixture
def ward_computer(sessions, hospital):
    """A browser in which the nurse has signed in."""
    with sessions.begin() as session:
        return Origin(WARD.address, device=remember_device(session, hospital.nurse, WARD))


def test_of_many_guesses_at_once_only_the_free_ones_are_looked_at(guess):
    with ThreadPoolExecutor(8) as attackers:
        answers = list(attackers.map(lambda _: guess(), range(60)))
    assert sum(answers) == 10


def test_the_wait_is_told_and_doubles(guess, later, sessions):
    for _ in range(11):
        guess()
        later(timedelta(seconds=31))
    with pytest.raises(TooManyGuesses) as refused, sessions.begin() as session:
        LIMIT.count(session, NURSE, OUTSIDE)
    assert timedelta(seconds=25) < refused.value.wait <= timedelta(seconds=30)
    later(timedelta(seconds=31))
    assert guess()


def test_unknown_accounts_are_counted_like_known_ones(guess, hospital):
    for email in (NURSE, "nobody@hospital.example"):
        assert [guess(email) for _ in range(12)] == [True] * 10 + [False] * 2


def test_a_refused_guess_is_not_counted(guess, sessions, later):
    for _ in range(300):
        guess()
    later(timedelta(seconds=31))
    assert guess()


def test_an_attacker_holds_back_no_device_that_has_signed_in(guess, ward_computer):
    while guess():
        pass
    assert guess(origin=ward_computer)


def test_an_attacker_on_the_same_ward_holds_back_no_device_that_has_signed_in(guess, ward_computer):
    while guess(origin=WARD):
        pass
    assert guess(origin=ward_computer)


def test_an_attacker_elsewhere_does_not_hold_back_a_new_browser_on_the_ward(guess, ward_computer):
    while guess():
        pass
    assert guess(origin=WARD)


def test_a_device_of_one_person_is_a_stranger_to_the_account_of_another(guess, ward_computer):
    other = "other@hospital.example"
    while guess(other):
        pass
    assert not guess(other, origin=ward_computer)


def test_a_made_up_device_is_a_stranger(guess, ward_computer):
    while guess():
        pass
    assert not guess(origin=Origin(OUTSIDE.address, device="made up"))


def test_a_device_is_forgotten_after_90_days_without_a_sign_in(guess, ward_computer, sessions):
    with sessions.begin() as session:
        session.execute(sa.update(KnownDevice).values(last_used_at=sa.func.now() - timedelta(days=91)))
    while guess():
        pass
    assert not guess(origin=ward_computer)


def test_one_password_tried_on_many_accounts_is_stopped_by_address(guess):
    answers = [guess(f"person-{number}@hospital.example") for number in range(103)]
    assert answers == [True] * 100 + [False] * 3
    assert guess("person-200@hospital.example", origin=Origin("198.51.100.1"))


def test_addresses_of_one_ipv6_network_are_one_attacker(guess):
    answers = [
        guess(f"person-{number}@hospital.example", origin=Origin(f"2001:db8::{number:x}"))
        for number in range(102)
    ]
    assert answers == [True] * 100 + [False] * 2


def test_a_right_password_takes_back_the_slips_before_it(guess, sessions):
    for _ in range(9):
        guess()
    with sessions.begin() as session:
        LIMIT.forgive(session, LIMIT.count(session, NURSE, OUTSIDE))
    assert all(guess() for _ in range(10))


def test_signing_in_often_is_no_guessing(sessions):
    for number in range(150):
        with sessions.begin() as session:
            LIMIT.forgive(session, LIMIT.count(session, f"person-{number % 3}@hospital.example", WARD))


def test_an_administrator_lets_somebody_try_again_wherever_they_are(guess, sessions, ward_computer):
    for origin in (OUTSIDE, WARD, ward_computer):
        while guess(origin=origin):
            pass
    with sessions.begin() as session:
        LIMIT.clear(session, NURSE)
    assert all(guess(origin=origin) for origin in (OUTSIDE, WARD, ward_computer))


def test_codes_are_counted_apart_from_passwords(guess, sessions):
    while guess():
        pass
    with sessions.begin() as session:
        GuessLimit(SALT, "code").count(session, NURSE, OUTSIDE)


def test_what_was_typed_cannot_be_read_from_the_counts(guess, sessions):
    guess("my secret password")
    with sessions.begin() as session:
        for counter in session.scalars(sa.select(GuessCounter)):
            assert len(counter.key) == 32
            assert b"secret" not in counter.key + (counter.account or b"")


def test_counts_that_have_shrunk_to_nothing_are_removed(guess, sessions, later):
    guess()
    later(timedelta(days=1, minutes=1))
    with sessions.begin() as session:
        forget_old_guesses(session)
        assert session.scalar(sa.select(sa.func.count()).select_from(GuessCounter)) == 0
