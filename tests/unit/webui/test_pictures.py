"""Every picture that leaves the portal is inert, whichever view it comes from."""

import pytest
from flask import Flask, Response
from flask_talisman import Talisman

from webui import pictures


@pytest.fixture
def browser():
    app = Flask(__name__)
    pictures.install(app)
    Talisman(app, force_https=False, content_security_policy={"default-src": "'self'"})
    app.add_url_rule("/page", view_func=lambda: "a page", endpoint="page")
    app.add_url_rule("/new", view_func=lambda: Response(b"GIF89a", mimetype="image/gif"), endpoint="new")
    app.add_url_rule(
        "/made", view_func=lambda: pictures.answer(b"x", "image/png", "x-1.png"), endpoint="made"
    )
    return app.test_client()


@pytest.mark.parametrize("path", ["/new", "/made"])
def test_a_picture_of_any_view_has_the_policy_of_pictures(browser, path):
    answer = browser.get(path)
    assert answer.headers["Content-Security-Policy"] == pictures.POLICY
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_page_keeps_its_own_policy(browser):
    assert browser.get("/page").headers["Content-Security-Policy"] == "default-src 'self'"


def test_a_picture_is_saved_under_the_name_we_made(browser):
    answer = browser.get("/made")
    assert answer.headers["Content-Disposition"] == 'inline; filename="x-1.png"'
    assert answer.content_type == "image/png"
