"""A portal on real services, a hospital that uses it, and what the trail says of them."""

from contextlib import closing

import pytest
import sqlalchemy as sa

from dermabatch.database import connect
from dermabatch.embedded.host import wait_until
from dermabatch.imaging.sandbox import DecoderPool
from dermabatch.queue import WakeUp
from dermabatch.settings import Settings
from dermabatch.subjects import KeyRing
from tests.situations import SALT, batch_with_results, open_hospital, register_active_model
from webui.app import create_app


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


@pytest.fixture
def switch(database):
    """Changes a setting of the whole server, which tests run with fsync off."""

    def to(name, value):
        alter(f"ALTER SYSTEM SET {name} = {value}")

        def arrived():
            with closing(connect(database.url("worker"))) as new, new.begin() as session:
                return session.scalar(sa.text(f"SHOW {name}")) == value

        assert wait_until(arrived, seconds=10)

    def alter(statement):
        engine = database.sessions("postgres").engine.execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sa.text(statement))
            connection.execute(sa.text("SELECT pg_reload_conf()"))

    yield to
    alter("ALTER SYSTEM RESET full_page_writes")
    alter("ALTER SYSTEM RESET synchronous_commit")
    alter("ALTER SYSTEM SET fsync = off")
