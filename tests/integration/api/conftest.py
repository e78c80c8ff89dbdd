import pytest
import sqlalchemy as sa

from dermabatch import accounts
from dermabatch.accounts import Scope
from dermabatch.audit import Actor, ActorKind
from dermabatch.imaging.sandbox import DecoderPool
from dermabatch.queue import WakeUp
from dermabatch.schema import User
from dermabatch.settings import Settings
from dermabatch.subjects import KeyRing
from tests.situations import SALT, batch_with_results, open_hospital, register_active_model
from webui.app import create_app

_TESTS = Actor(None, ActorKind.SERVICE, "tests")
_STAFF_SCOPES = (Scope.BATCHES_READ, Scope.BATCHES_WRITE, Scope.MODELS_READ)
_ADMINISTRATOR_SCOPES = (Scope.MODELS_READ, Scope.MODELS_WRITE, Scope.AUDIT_READ)


@pytest.fixture(scope="session")
def decoders():
    with DecoderPool(1) as pool:
        yield pool


@pytest.fixture
def settings(services, database, redis_url):
    values = services.environment("web", database.name) | {
        "DERMABATCH_REDIS_URL": redis_url,
        "DERMABATCH_PASSWORD_SALT": SALT,
        "DERMABATCH_INSECURE_COOKIES": "true",
        "DERMABATCH_MAX_UPLOAD_BYTES": str(8 * 2**20),
    }
    return Settings(**{name.removeprefix("DERMABATCH_").lower(): value for name, value in values.items()})


@pytest.fixture
def sessions(database):
    return database.sessions("web")


@pytest.fixture
def hospital(sessions):
    return open_hospital(sessions)


@pytest.fixture
def app(settings, sessions, object_store, decoders):
    wake_up = WakeUp(settings)
    yield create_app(settings, sessions=sessions, store=object_store, wake_up=wake_up, decoders=decoders)
    wake_up.close()


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


@pytest.fixture
def submit(sessions, database, hospital, settings):
    """Makes a batch of the first department as intake and worker leave it."""
    digest = register_active_model(sessions, hospital)
    keyring = KeyRing(settings.master_key)

    def _submit(files):
        worker = database.sessions("worker")
        return batch_with_results(sessions, worker, hospital, keyring, files, digest=digest)

    return _submit


@pytest.fixture
def audited(database):
    """Action, outcome and details of every event so far, whether chained or not."""

    def _audited(action):
        with database.sessions("chainer").begin() as session:
            rows = session.execute(
                sa.text(
                    "SELECT outcome, details::json FROM audit_pending WHERE action = :action ORDER BY id"
                ),
                {"action": action},
            )
            return [tuple(row) for row in rows]

    return _audited
