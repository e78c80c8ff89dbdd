import pytest

from dermabatch import accounts
from dermabatch.accounts import Scope
from dermabatch.audit import Actor, ActorKind
from dermabatch.schema import User

_TESTS = Actor(None, ActorKind.SERVICE, "tests")
_STAFF_SCOPES = (Scope.BATCHES_READ, Scope.BATCHES_WRITE, Scope.MODELS_READ)
_ADMINISTRATOR_SCOPES = (Scope.MODELS_READ, Scope.MODELS_WRITE, Scope.AUDIT_READ)


class Caller:
    """A program with a token."""

    def __init__(self, app, secret):
        self._client = app.test_client()
        self.headers = {"Authorization": f"Bearer {secret}"} if secret else {}

    def get(self, path, **kwargs):
        return self._client.get(f"/api/v1{path}", headers=self.headers, **kwargs)

    def post(self, path, headers=None, **kwargs):
        return self._client.post(f"/api/v1{path}", headers={**self.headers, **(headers or {})}, **kwargs)


@pytest.fixture
def call_as(app, sessions):
    """A caller with a new token of this user."""

    def _call_as(user_id, *scopes):
        with sessions.begin() as session:
            user = session.get(User, user_id)
            secret = accounts.create_token(
                session, user, name="test", scopes=scopes, expires_at=None, actor=_TESTS
            )
        return Caller(app, secret)

    return _call_as


@pytest.fixture
def nurse(call_as, hospital):
    return call_as(hospital.nurse, *_STAFF_SCOPES)


@pytest.fixture
def other_nurse(call_as, hospital):
    return call_as(hospital.other_nurse, *_STAFF_SCOPES)


@pytest.fixture
def administrator(call_as, hospital):
    return call_as(hospital.administrator, *_ADMINISTRATOR_SCOPES)


@pytest.fixture
def nobody(app):
    return Caller(app, None)
