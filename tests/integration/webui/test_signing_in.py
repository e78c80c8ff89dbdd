import argon2
import pytest
from pydantic import SecretStr

from dermabatch import accounts
from dermabatch.accounts import passwords
from dermabatch.schema import User
from tests.integration.webui.conftest import Browser
from tests.situations import PASSWORD, SALT, TESTS
from webui.app import create_app

NURSE = "nurse@hospital.example"


def test_the_right_password_leads_to_the_worklist_and_leaves_one_event(stranger, audited):
    answer = stranger.sign_in("nurse@hospital.example")
    assert answer.location == "/"
    assert "Worklist" in stranger.get("/").text
    assert len(audited("session.sign_in")) == 1


@pytest.mark.parametrize("typed", [" Nurse@Hospital.Example ", "nurse@hospital.example\u200b"])
def test_an_address_may_be_typed_in_capitals_and_with_what_cannot_be_seen(stranger, typed):
    assert stranger.sign_in(typed).location == "/"


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


def test_guessing_a_password_is_stopped_without_redis_too(
    settings, sessions, object_store, decoders, hospital
):
    unplugged = settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1/0")})
    stranger = Browser(create_app(unplugged, sessions=sessions, store=object_store, decoders=decoders))
    assert [stranger.sign_in(NURSE, "guess").status_code for _ in range(12)] == [200] * 10 + [429] * 2


@pytest.mark.parametrize("email", [NURSE, "nobody@hospital.example"])
def test_guessing_a_password_is_stopped_whether_there_is_an_account_or_not(stranger, email, audited):
    answers = [stranger.sign_in(email, "guess") for _ in range(11)]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429]
    assert "The next one counts in" in answers[-1].text
    assert int(answers[-1].headers["Retry-After"]) > 0
    reasons = [details["reason"] for _, details in audited("session.refused")]
    assert reasons == ["password"] * 10 + ["held_back"]


def test_a_right_password_is_not_looked_at_while_guesses_are_held_back(stranger):
    for _ in range(11):
        stranger.sign_in(NURSE, "guess")
    assert stranger.sign_in(NURSE).status_code == 429
    assert stranger.sign_in("other@hospital.example").status_code == 302


def test_guesses_of_a_stranger_do_not_hold_back_the_browser_of_an_honest_person(nurse, stranger):
    nurse.post("/sign-out")
    while stranger.sign_in(NURSE, "guess", address="203.0.113.9").status_code == 200:
        pass
    assert nurse.sign_in(NURSE).status_code == 302


@pytest.mark.parametrize(
    ("email", "password"),
    [
        (NURSE, "not the password"),
        ("nobody@hospital.example", PASSWORD),
        ("disabled@hospital.example", PASSWORD),
        ("installer@service.invalid", PASSWORD),
    ],
    ids=["wrong password", "unknown", "disabled", "service"],
)
def test_every_refusal_costs_one_comparison_and_looks_the_same(
    stranger, sessions, hospital, monkeypatch, email, password
):
    with sessions.begin() as session:
        other = session.get(User, hospital.other_nurse)
        other.email, other.active = "disabled@hospital.example", False
    compared, verify = [], argon2.PasswordHasher.verify
    monkeypatch.setattr(
        argon2.PasswordHasher, "verify", lambda *given: compared.append(given) or verify(*given)
    )
    page = stranger.sign_in(email, password).text
    assert len(compared) == 1
    assert "The address or the password is not right." in page
    assert stranger.client.get_cookie("sign-in") is None
    assert stranger.client.get_cookie("device") is None


def test_a_hash_with_former_parameters_is_renewed_at_the_next_sign_in(stranger, sessions, hospital):
    with sessions.begin() as session:
        user = session.get(User, hospital.nurse)
        current = user.password
        former = argon2.PasswordHasher(time_cost=1, memory_cost=1024)
        user.password = former.hash(passwords._keyed(PASSWORD, SALT))
    assert stranger.sign_in(NURSE).status_code == 302
    with sessions.begin() as session:
        renewed = session.get(User, hospital.nurse).password
    assert renewed.split("$")[:4] == current.split("$")[:4]


@pytest.mark.parametrize("easy", ["password1234", "nurse-hospital-1"])
def test_a_new_password_that_others_would_try_is_refused(nurse, easy):
    answer = nurse.post("/account/password", {"current": PASSWORD, "new": easy, "again": easy})
    assert answer.status_code == 400
    assert "too easy to guess" in answer.text
