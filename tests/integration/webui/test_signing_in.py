import pytest

from dermabatch import accounts
from dermabatch.schema import User
from tests.situations import PASSWORD, TESTS


def test_the_right_password_leads_to_the_worklist_and_leaves_one_event(stranger, audited):
    answer = stranger.sign_in("nurse@hospital.example")
    assert answer.location == "/"
    assert "Worklist" in stranger.get("/").text
    assert len(audited("session.sign_in")) == 1


def test_an_address_may_be_typed_in_capitals(stranger):
    assert stranger.sign_in(" Nurse@Hospital.Example ").location == "/"


@pytest.mark.parametrize(
    ("email", "password"),
    [("nurse@hospital.example", "not the password"), ("nobody@hospital.example", PASSWORD)],
)
def test_a_refusal_does_not_tell_which_part_was_wrong_and_leaves_an_event(stranger, audited, email, password):
    answer = stranger.sign_in(email, password)
    assert "The address or the password is not right." in answer.text
    assert [outcome for outcome, _ in audited("session.refused")] == ["refused"]


def test_a_service_cannot_sign_in(stranger):
    assert "is not right" in stranger.sign_in("installer@service.invalid").text


def test_the_page_somebody_wanted_opens_after_signing_in(stranger):
    refused = stranger.get("/batches?before=x")
    assert refused.location == "/sign-in?next=/batches?before%3Dx"
    assert stranger.sign_in("nurse@hospital.example", next_page="/batches").location == "/batches"


def test_signing_in_never_leads_to_another_site(stranger):
    answer = stranger.sign_in("nurse@hospital.example", next_page="//elsewhere.example/")
    assert "elsewhere" not in (answer.location or "")


def test_signing_out_ends_the_session_and_leaves_an_event(nurse, audited):
    nurse.post("/sign-out")
    assert nurse.get("/batches").location.startswith("/sign-in")
    assert len(audited("session.sign_out")) == 1


def test_signing_out_everywhere_ends_the_sessions_of_other_browsers(nurse, signed_in):
    at_home = signed_in("nurse@hospital.example")
    nurse.post("/account/sign-out-everywhere")
    assert at_home.get("/batches").location.startswith("/sign-in")


def test_disabling_a_person_ends_their_sessions_and_refuses_new_ones(nurse, sessions, hospital, stranger):
    with sessions.begin() as session:
        accounts.disable(session, session.get(User, hospital.nurse), actor=TESTS)
    assert nurse.get("/batches").location.startswith("/sign-in")
    assert stranger.sign_in("nurse@hospital.example").status_code == 200


def test_a_changed_password_works_at_once_and_the_session_goes_on(nurse, stranger):
    form = {"current": PASSWORD, "new": "a longer sentence", "again": "a longer sentence"}
    assert nurse.post("/account/password", form).status_code == 302
    assert nurse.get("/batches").status_code == 200
    assert stranger.sign_in("nurse@hospital.example").status_code == 200
    assert stranger.sign_in("nurse@hospital.example", "a longer sentence").status_code == 302


@pytest.mark.parametrize(
    "form",
    [
        {"current": "wrong", "new": "a longer sentence", "again": "a longer sentence"},
        {"current": PASSWORD, "new": "a longer sentence", "again": "another sentence"},
        {"current": PASSWORD, "new": "short", "again": "short"},
    ],
    ids=["wrong present password", "typed differently", "too short"],
)
def test_a_password_is_not_changed_by_mistake(nurse, stranger, form):
    assert nurse.post("/account/password", form).status_code == 400
    assert stranger.sign_in("nurse@hospital.example").status_code == 302


def test_guessing_a_password_is_stopped(stranger):
    for _ in range(10):
        assert stranger.sign_in("nurse@hospital.example", "guess").status_code == 200
    assert stranger.sign_in("nurse@hospital.example", "guess").status_code == 429
    assert stranger.sign_in("other@hospital.example").status_code == 302
