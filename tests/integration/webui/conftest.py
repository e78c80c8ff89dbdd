import re

import pytest

from tests.situations import PASSWORD

_TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')


class Browser:
    """One browser without scripts: keeps cookies, and sends forms with the token of the page they stand on."""

    def __init__(self, app):
        self.client = app.test_client()

    def get(self, path, **kwargs):
        return self.client.get(path, **kwargs)

    def post(self, path, data=None, *, form_on="/help", **kwargs):
        token = _TOKEN.search(self.get(form_on).text)[1]
        return self.client.post(path, data={**(data or {}), "csrf_token": token}, **kwargs)

    def sign_in(self, email, password=PASSWORD, *, next_page="", address="127.0.0.1"):
        page = f"/sign-in?next={next_page}" if next_page else "/sign-in"
        form = {"email": email, "password": password}
        return self.post(page, form, form_on="/sign-in", environ_base={"REMOTE_ADDR": address})


@pytest.fixture
def stranger(app, hospital):
    """Nobody has signed in."""
    return Browser(app)


@pytest.fixture
def signed_in(app, hospital):
    """A browser in which this person has signed in."""

    def _signed_in(email):
        browser = Browser(app)
        assert browser.sign_in(email).status_code == 302
        return browser

    return _signed_in


@pytest.fixture
def nurse(signed_in):
    return signed_in("nurse@hospital.example")


@pytest.fixture
def other_nurse(signed_in):
    """Of another department."""
    return signed_in("other@hospital.example")


@pytest.fixture
def administrator(signed_in):
    return signed_in("admin@hospital.example")
