"""Stays in the portal: how they begin, how long they last, what ends them."""

import re
from datetime import timedelta

import pytest
import sqlalchemy as sa

from dermabatch import accounts
from dermabatch.accounts import ADMINISTRATOR, STAFF
from dermabatch.accounts.tables import WebSession
from dermabatch.schema import User
from tests.situations import PASSWORD, TESTS

NURSE = "nurse@hospital.example"


def token_of(browser):
    return browser.client.get_cookie("sign-in").value


def is_in(browser):
    return browser.get("/batches").status_code == 200


@pytest.fixture
def aged(sessions):
    """Moves times of every stay into the past."""

    def _aged(**by):
        with sessions.begin() as session:
            session.execute(
                sa.update(WebSession).values(
                    {column: getattr(WebSession, column) - time for column, time in by.items()}
                )
            )

    return _aged


def test_the_database_holds_no_token_that_opens_anything(nurse, sessions):
    with sessions.begin() as session:
        (stay,) = session.scalars(sa.select(WebSession))
    assert token_of(nurse).encode() not in stay.token_hash
    nurse.client.set_cookie("sign-in", stay.token_hash.hex())
    assert not is_in(nurse)


def test_each_sign_in_has_a_token_of_its_own_and_one_from_before_is_not_taken_over(stranger, signed_in):
    stranger.client.set_cookie("sign-in", "chosen by an attacker")
    stranger.sign_in(NURSE)
    again = signed_in(NURSE)
    assert len({token_of(stranger), token_of(again), "chosen by an attacker"}) == 3


def test_a_cookie_that_was_kept_is_worth_nothing_after_signing_out(nurse):
    kept = token_of(nurse)
    nurse.post("/sign-out")
    nurse.client.set_cookie("sign-in", kept)
    assert not is_in(nurse)


def test_a_form_from_before_signing_in_is_worth_nothing_afterwards(stranger):
    old = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', stranger.get("/sign-in").text)[1]
    stranger.sign_in(NURSE)
    assert stranger.client.post("/sign-out", data={"csrf_token": old}).status_code == 400


def test_a_stay_in_which_nothing_happens_ends(nurse, aged):
    aged(seen_at=timedelta(minutes=59))
    assert is_in(nurse)
    aged(seen_at=timedelta(minutes=59))
    assert is_in(nurse)
    aged(seen_at=timedelta(minutes=61))
    assert not is_in(nurse)


def test_a_page_that_follows_a_batch_by_itself_keeps_no_stay_alive(nurse, aged):
    aged(seen_at=timedelta(minutes=59))
    assert nurse.get("/batches", headers={"HX-Request": "true"}).status_code == 200
    aged(seen_at=timedelta(minutes=2))
    assert not is_in(nurse)


def test_a_stay_ends_at_its_longest_whatever_happens(nurse, aged):
    aged(ends_at=timedelta(hours=11, minutes=59))
    assert is_in(nurse)
    aged(ends_at=timedelta(minutes=2))
    assert not is_in(nurse)


def test_what_has_ended_is_removed_at_the_next_sign_in(nurse, aged, signed_in, sessions):
    aged(seen_at=timedelta(minutes=61))
    signed_in(NURSE)
    with sessions.begin() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(WebSession)) == 1


@pytest.mark.parametrize(
    "deed",
    [
        lambda session, user: accounts.disable(session, user, actor=TESTS),
        lambda session, user: accounts.set_roles(session, user, [STAFF, ADMINISTRATOR], actor=TESTS),
        lambda session, user: accounts.set_password(
            session, user, "quartz meadow lantern", salt="", actor=TESTS
        ),
        lambda session, user: accounts.end_sessions(session, user, actor=TESTS),
    ],
    ids=["disabled", "other roles", "new password", "signed out by an administrator"],
)
def test_what_changes_a_persons_rights_ends_their_stays_and_leaves_one_event(
    nurse, other_nurse, sessions, hospital, audited, deed
):
    with sessions.begin() as session:
        deed(session, session.get(User, hospital.nurse))
    assert not is_in(nurse)
    assert is_in(other_nurse)
    events = [*audited("user.changed"), *audited("session.ended")]
    assert len(events) == 1
    assert events[0][1].get("sessions_ended", events[0][1].get("sessions")) == 1


def test_the_same_roles_again_end_nothing(nurse, sessions, hospital):
    with sessions.begin() as session:
        accounts.set_roles(session, session.get(User, hospital.nurse), [STAFF], actor=TESTS)
    assert is_in(nurse)


def test_a_changed_password_goes_on_under_a_new_token_and_ends_other_stays(nurse, signed_in, audited):
    at_home, before = signed_in(NURSE), token_of(nurse)
    form = {"current": PASSWORD, "new": "quartz meadow lantern", "again": "quartz meadow lantern"}
    nurse.post("/account/password", form)
    assert is_in(nurse)
    assert token_of(nurse) != before
    assert not is_in(at_home)
    assert len(audited("user.changed")) == 1


def test_a_person_sees_their_stays_and_ends_another_one(nurse, signed_in, audited):
    at_home = signed_in(NURSE)
    (chosen,) = re.findall(r"/account/sessions/([0-9a-f-]+)/end", nurse.get("/account").text)
    nurse.post(f"/account/sessions/{chosen}/end")
    assert is_in(nurse)
    assert not is_in(at_home)
    assert len(audited("session.ended")) == 1


def test_a_stay_of_somebody_else_cannot_be_ended(nurse, other_nurse, sessions):
    with sessions.begin() as session:
        theirs = session.scalar(sa.select(WebSession.id).order_by(WebSession.id.desc()))
    assert nurse.post(f"/account/sessions/{theirs}/end").status_code == 404
    assert is_in(other_nurse)


def test_an_administrator_signs_somebody_out_everywhere(nurse, administrator, hospital):
    administrator.post(f"/users/{hospital.nurse}/sign-out")
    assert not is_in(nurse)


def test_the_password_is_asked_for_before_it_is_changed_and_guessing_there_is_stopped(nurse, audited):
    form = {"current": "guess", "new": "quartz meadow lantern", "again": "quartz meadow lantern"}
    answers = [nurse.post("/account/password", form) for _ in range(11)]
    assert [answer.status_code for answer in answers] == [400] * 10 + [429]
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60
    reasons = [details["reason"] for _, details in audited("session.refused")]
    assert reasons == ["password"] * 10 + ["held_back"]
