"""The second factor, with the codes that an authenticator app would show."""

import base64
import re
import time

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from dermabatch.accounts.tables import SecondFactor, WebSession
from tests.integration.webui.conftest import Browser
from tests.situations import PASSWORD
from webui.app import create_app

NURSE = "nurse@hospital.example"
PAGE = "/account/second-factor"
CODE = "/sign-in/code"


class App:
    """An authenticator, from the letters that the page shows beside its picture."""

    def __init__(self, page):
        letters = re.search(r'class="secret">([A-Z2-7-]+)<', page)[1]
        self._totp = TOTP(base64.b32decode(letters.replace("-", "")), 6, SHA1(), 30)

    def code(self, *, steps=1):
        """Of the next half minute, which is taken already: that of the present one was used for setting up."""
        return self._totp.generate(int(time.time()) + 30 * steps).decode()


def enrol(browser, *, with_password=True):
    """Set a second factor up; returns the app and the recovery codes."""
    browser.post(f"{PAGE}/prepare", {"password": PASSWORD} if with_password else {}, form_on=PAGE)
    app = App(browser.get(PAGE).text)
    codes = browser.post(f"{PAGE}/confirm", {"code": app.code(steps=0)}, form_on=PAGE)
    return app, re.findall(r"<li><code>([a-z2-7-]{19})</code>", codes.text)


def give(browser, code):
    return browser.post(CODE, {"code": code}, form_on=CODE)


def is_in(browser):
    return browser.get("/account").status_code == 200


@pytest.fixture
def enrolled(nurse):
    return enrol(nurse)


@pytest.fixture
def half_way(enrolled, stranger):
    """The password was right."""
    assert stranger.sign_in(NURSE).location == CODE
    return stranger


def test_setting_up_takes_the_password_and_a_first_code_and_each_step_is_one_event(nurse, stranger, audited):
    nurse.post(f"{PAGE}/prepare", {"password": "guess"}, form_on=PAGE)
    assert 'class="secret"' not in nurse.get(PAGE).text
    _, codes = enrol(nurse)
    assert len(set(codes)) == 10
    assert [len(audited(f"second_factor.{step}")) for step in ("prepared", "enrolled")] == [1, 1]
    assert "Set up." in nurse.get(PAGE).text
    assert stranger.sign_in(NURSE).location == CODE


def test_a_wrong_first_code_turns_nothing_on(nurse, stranger, audited):
    nurse.post(f"{PAGE}/prepare", {"password": PASSWORD}, form_on=PAGE)
    answer = nurse.post(f"{PAGE}/confirm", {"code": "000000"}, form_on=PAGE)
    assert (answer.status_code, "does not fit" in answer.text) == (400, True)
    assert [outcome for outcome, _ in audited("second_factor.enrolled")] == ["refused"]
    assert stranger.sign_in(NURSE).location == "/"


def test_the_picture_is_drawn_without_scripts_and_styles(nurse):
    nurse.post(f"{PAGE}/prepare", {"password": PASSWORD}, form_on=PAGE)
    page = nurse.get(PAGE).text
    assert re.search(r'<svg[^>]+class="qr"', page)
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=", page)


def test_the_secret_is_sealed_in_the_database_and_shown_once(nurse, sessions):
    nurse.post(f"{PAGE}/prepare", {"password": PASSWORD}, form_on=PAGE)
    letters = re.search(r'class="secret">([A-Z2-7-]+)<', nurse.get(PAGE).text)[1]
    with sessions.begin() as session:
        (factor,) = session.scalars(sa.select(SecondFactor))
    assert base64.b32decode(letters.replace("-", "")) not in factor.wrapped_secret
    nurse.post(f"{PAGE}/confirm", {"code": App(nurse.get(PAGE).text).code(steps=0)}, form_on=PAGE)
    assert 'class="secret"' not in nurse.get(PAGE).text


def test_setting_up_begins_a_new_stay_and_ends_the_others(nurse, signed_in):
    at_home = signed_in(NURSE)
    before = nurse.client.get_cookie("sign-in").value
    enrol(nurse)
    assert is_in(nurse)
    assert nurse.client.get_cookie("sign-in").value != before
    assert not is_in(at_home)


def test_the_password_alone_opens_nothing(half_way, audited):
    for page in ("/", "/batches", "/account", "/help", PAGE):
        assert half_way.get(page).location.startswith("/sign-in"), page
    assert half_way.post(f"{PAGE}/prepare", form_on=CODE).location.startswith("/sign-in")
    assert [details["missing"] for _, details in audited("session.half_way")] == ["code"]


def test_the_code_completes_the_sign_in_under_a_new_token_and_leads_to_the_wanted_page(
    enrolled, stranger, audited
):
    app, _ = enrolled
    asked = stranger.sign_in(NURSE, next_page="/batches")
    before = stranger.client.get_cookie("sign-in").value
    answer = stranger.post(asked.location, {"code": app.code()}, form_on=asked.location)
    assert answer.location == "/batches"
    assert stranger.client.get_cookie("sign-in").value != before
    assert audited("session.sign_in")[-1][1]["second_factor"] == "code"
    assert len(audited("session.sign_in")) == 2


@pytest.mark.parametrize("steps", [-5, 5])
def test_a_code_of_another_time_is_refused(enrolled, half_way, audited, steps):
    app, _ = enrolled
    assert "not right" in give(half_way, app.code(steps=steps)).text
    assert not is_in(half_way)
    assert [details["reason"] for _, details in audited("session.refused")] == ["code"]


def test_a_code_works_once(enrolled, half_way, app):
    authenticator, _ = enrolled
    code = authenticator.code()
    assert give(half_way, code).status_code == 302
    over_the_shoulder = Browser(app)
    over_the_shoulder.sign_in(NURSE)
    assert "was used before" in give(over_the_shoulder, code).text
    assert not is_in(over_the_shoulder)


def test_a_recovery_code_works_once_in_any_spelling(enrolled, half_way, app, audited):
    _, codes = enrolled
    assert give(half_way, codes[3].upper().replace("-", " ")).status_code == 302
    assert audited("session.sign_in")[-1][1]["second_factor"] == "recovery_code"
    assert "<b>9</b> unused" in half_way.get(PAGE).text
    again = Browser(app)
    again.sign_in(NURSE)
    assert "was used before" in give(again, codes[3]).text


def test_new_recovery_codes_replace_the_old_ones(enrolled, nurse, half_way, audited):
    _, old = enrolled
    page = nurse.post(f"{PAGE}/recovery-codes", {"password": PASSWORD}, form_on=PAGE).text
    new = re.findall(r"<li><code>([a-z2-7-]{19})</code>", page)
    assert len(audited("second_factor.recovery_codes")) == 1
    assert "not right" in give(half_way, old[0]).text
    assert give(half_way, new[0]).status_code == 302


def test_guessing_codes_is_stopped_also_over_many_sign_ins(enrolled, app):
    for _ in range(5):
        browser = Browser(app)
        browser.sign_in(NURSE)
        assert [give(browser, "000000").status_code for _ in range(2)] == [200, 200]
    assert give(browser, enrolled[0].code()).status_code == 429


def test_a_password_waits_ten_minutes_for_its_code(enrolled, half_way, sessions):
    with sessions.begin() as session:
        session.execute(
            sa.update(WebSession).where(~WebSession.complete).values(ends_at=sa.func.clock_timestamp())
        )
    answer = half_way.post(CODE, {"code": enrolled[0].code()}, form_on="/sign-in")
    assert answer.location == "/sign-in"


def test_removing_takes_the_password_and_lets_the_password_alone_in_again(enrolled, nurse, stranger, audited):
    nurse.post(f"{PAGE}/remove", {"password": "guess"}, form_on=PAGE)
    assert audited("second_factor.removed") == []
    nurse.post(f"{PAGE}/remove", {"password": PASSWORD}, form_on=PAGE)
    assert len(audited("second_factor.removed")) == 1
    assert stranger.sign_in(NURSE).location == "/"


def test_an_administrator_resets_it_for_who_lost_the_phone(
    enrolled, nurse, administrator, stranger, hospital, audited
):
    administrator.post(f"/users/{hospital.nurse}/second-factor/reset")
    assert not is_in(nurse)
    assert stranger.sign_in(NURSE).location == "/"
    assert len(audited("second_factor.removed")) == 1


@pytest.fixture
def demanding(settings, sessions, object_store, decoders, hospital):
    """A portal in which staff have to have a second factor."""
    strict = settings.model_copy(update={"second_factor_for": ("staff",)})
    return Browser(create_app(strict, sessions=sessions, store=object_store, decoders=decoders))


def test_a_role_that_demands_it_lets_nobody_in_before_it_is_set_up(demanding, audited):
    assert demanding.get(demanding.sign_in(NURSE).location).location == PAGE
    for page in ("/", "/batches", "/account"):
        assert demanding.get(page).location.startswith("/sign-in"), page
    app, codes = enrol(demanding, with_password=False)
    assert len(codes) == 10
    assert is_in(demanding)
    assert [details["missing"] for _, details in audited("session.half_way")] == ["enrolment"]
    assert [len(audited(action)) for action in ("second_factor.enrolled", "session.sign_in")] == [1, 1]
    demanding.post("/sign-out")
    demanding.sign_in(NURSE)
    assert give(demanding, app.code()).location == "/"


def test_a_role_that_demands_it_does_not_let_it_be_removed(demanding):
    demanding.sign_in(NURSE)
    enrol(demanding, with_password=False)
    answer = demanding.post(f"{PAGE}/remove", {"password": PASSWORD}, form_on=PAGE)
    assert answer.status_code == 403
    assert "Set up." in demanding.get(PAGE).text


def test_other_roles_sign_in_as_before(demanding):
    assert demanding.sign_in("admin@hospital.example").location == "/"
