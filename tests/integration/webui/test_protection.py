import re
import time
from uuid import uuid4

import pytest
from pydantic import SecretStr

from dermabatch.triage import Triage
from tests.integration.webui.conftest import Browser
from tests.situations import File
from webui.app import create_app

_FOR_ADMINISTRATORS = ("/audit", "/users", "/system")


def test_a_fragment_asks_its_page_to_sign_in_as_a_whole(stranger):
    answer = stranger.get(f"/batches/{uuid4()}/progress", headers={"HX-Request": "true"})
    assert (answer.status_code, answer.headers["HX-Refresh"]) == (401, "true")


@pytest.mark.parametrize("page", _FOR_ADMINISTRATORS)
def test_staff_are_refused_what_is_for_administrators_and_told_who_can_help(nurse, page, audited):
    answer = nurse.get(page)
    assert answer.status_code == 403
    assert "An administrator can give it to you." in answer.text
    assert [details["route"] for _, details in audited("access.refused")] == [page]


@pytest.mark.parametrize("page", ["/batches", "/batches/new"])
def test_an_administrator_alone_reads_no_results(administrator, page):
    assert administrator.get(page).status_code == 403


def test_an_administrator_starts_at_the_trail(administrator):
    assert administrator.get("/").location == "/audit"


def test_another_department_finds_nothing(nurse, other_nurse, submit):
    batch = submit([File("a.jpg", Triage.URGENT, 0.9)])
    image = re.search(r"/images/([0-9a-f-]+)", nurse.get(f"/batches/{batch}").text)[1]
    for page in (f"/batches/{batch}", f"/batches/{batch}/results.csv", f"/images/{image}"):
        assert other_nurse.get(page).status_code == 404
    assert other_nurse.post(f"/batches/{batch}/cancel").status_code == 404
    assert "a.jpg" not in other_nurse.get("/").text
    assert str(batch) not in other_nurse.get("/batches").text


def test_pages_run_nothing_inline_and_nothing_from_elsewhere(nurse, submit):
    batch = submit([File("a.jpg", Triage.SOON, 0.4), File("b.docx", reason="not an image"), File("c.jpg")])
    image = re.search(r"/images/([0-9a-f-]+)", nurse.get(f"/batches/{batch}").text)[1]
    pages = ["/", "/batches", "/batches/new", f"/batches/{batch}", f"/images/{image}", "/account", "/help"]
    for page in pages:
        answer = nurse.get(page)
        policy = answer.headers["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert not re.search(
            r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", answer.text
        ), page
        assert not re.search(r'(?:src|href|action)="(?:https?:)?//', answer.text), page


def test_every_answer_carries_the_headers_that_browsers_obey(nurse):
    headers = nurse.get("/batches").headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"


def test_cookies_cannot_be_read_by_scripts_nor_sent_from_elsewhere(stranger):
    cookie = stranger.sign_in("nurse@hospital.example").headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


def test_an_error_names_its_request_and_shows_nothing_of_the_inside(nurse):
    answer = nurse.get(f"/batches/{uuid4()}")
    assert answer.status_code == 404
    assert answer.headers["X-Request-ID"] in answer.text


def test_a_script_gets_its_error_as_json(nurse):
    answer = nurse.get(f"/batches/{uuid4()}", headers={"Accept": "application/json"})
    assert answer.mimetype == "application/problem+json"
    assert answer.json["request_id"] == answer.headers["X-Request-ID"]


def test_a_page_that_breaks_says_so_without_the_reason(app, nurse, monkeypatch):
    monkeypatch.setitem(app.view_functions, "batches.index", lambda: 1 / 0)
    answer = nurse.get("/batches")
    assert answer.status_code == 500
    assert "division" not in answer.text
    assert answer.headers["X-Request-ID"] in answer.text


def test_the_theme_is_kept_without_scripts(nurse):
    assert nurse.post(
        "/theme", {"theme": "dark"}, headers={"Referer": "https://x.example/batches?before=1"}
    ).location == ("/batches?before=1")
    assert 'data-bs-theme="dark"' in nurse.get("/batches").text


def test_health_is_known_to_everybody(stranger):
    assert stranger.get("/healthz").json == {"status": "ok"}


@pytest.fixture
def behind_tls(settings, sessions, object_store, decoders):
    """A portal as a hospital runs it: nothing over plain HTTP."""
    strict = settings.model_copy(update={"insecure_cookies": False})
    return create_app(strict, sessions=sessions, store=object_store, decoders=decoders).test_client()


def test_plain_http_is_sent_to_https_but_for_the_sign_of_life(behind_tls):
    assert behind_tls.get("/sign-in").location.startswith("https://")
    assert behind_tls.get("/healthz").status_code == 200


def test_over_https_cookies_are_bound_to_this_host_and_browsers_told_to_stay(behind_tls):
    answer = behind_tls.get("/sign-in", base_url="https://portal.example")
    assert answer.headers["Set-Cookie"].startswith("__Host-session=")
    assert "; Secure" in answer.headers["Set-Cookie"]
    assert "max-age" in answer.headers["Strict-Transport-Security"]


def test_the_portal_goes_on_without_redis(settings, sessions, object_store, decoders, hospital):
    unplugged = settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1/0")})
    browser = Browser(create_app(unplugged, sessions=sessions, store=object_store, decoders=decoders))
    started = time.monotonic()
    assert browser.sign_in("nurse@hospital.example").location == "/"
    assert browser.get("/batches").status_code == 200
    assert time.monotonic() - started < 3
