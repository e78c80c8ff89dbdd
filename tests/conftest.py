"""Real services for the tests that need them, started once a session and empty for each test."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import psycopg2
import pytest
from redis import Redis

import migrations
from cli.installation import running_installation
from cli.main import main
from dermabatch.database import Sessions, connect
from dermabatch.database_roles import OWNER
from dermabatch.embedded import EmbeddedServices
from dermabatch.errors import ConfigurationError, ServiceUnavailable
from dermabatch.objects import S3ObjectStore
from tests.live import LiveInstallation


@pytest.fixture(scope="session")
def services() -> Iterator[EmbeddedServices]:
    """PostgreSQL, Redis and S3 storage of this session. Missing ones skip a test on a laptop and fail it in CI."""
    with ExitStack() as stack:
        # Not pytest's own folder: that is private to root, and PostgreSQL runs under another account.
        folder = stack.enter_context(
            TemporaryDirectory(prefix="dermabatch-tests-", ignore_cleanup_errors=True)
        )
        try:
            running = stack.enter_context(EmbeddedServices(Path(folder)))
        except (ConfigurationError, ServiceUnavailable) as error:
            if os.environ.get("CI") == "true":
                raise
            pytest.skip(f"the services did not start: {error}")
        # These tests kill processes, never the machine.
        _as_superuser(running, "ALTER SYSTEM SET fsync = off")
        _as_superuser(running, "SELECT pg_reload_conf()")
        yield running


@pytest.fixture
def redis_url(services: EmbeddedServices) -> str:
    """An empty Redis."""
    with Redis.from_url(services.redis_url) as client:
        client.flushall()
    return services.redis_url


@pytest.fixture(scope="session")
def bucket(services: EmbeddedServices) -> S3ObjectStore:
    store = S3ObjectStore(services.s3_endpoint, "tests", services.s3_access_key, services.s3_secret_key)
    store.ensure_bucket()
    return store


@pytest.fixture
def object_store(bucket: S3ObjectStore) -> Iterator[S3ObjectStore]:
    """An empty bucket."""
    yield bucket
    for info in bucket.list(""):
        bucket.delete(info.key)


class Database:
    """A migrated database of one test's own, reached as any login role or as superuser "postgres"."""

    def __init__(self, services: EmbeddedServices, name: str) -> None:
        self.name = name
        self._services = services
        self._sessions: dict[str, Sessions] = {}

    def url(self, role: str) -> str:
        return self._services.postgres_url(role, self.name)

    def sessions(self, role: str) -> Sessions:
        if role not in self._sessions:
            self._sessions[role] = connect(self.url(role))
        return self._sessions[role]

    def close(self) -> None:
        for sessions in self._sessions.values():
            sessions.close()


@pytest.fixture(scope="session")
def migrated_template(services: EmbeddedServices) -> str:
    """The name of a database with every migration run and nothing in it."""
    name = "template_migrated"
    _as_superuser(services, f"CREATE DATABASE {name} OWNER {OWNER}")
    migrations.upgrade(services.postgres_url("owner", name))
    return name


@pytest.fixture
def database(services: EmbeddedServices, migrated_template: str) -> Iterator[Database]:
    """A copy of the migrated template."""
    with copied(services, migrated_template) as copy:
        yield copy


@contextmanager
def copied(services: EmbeddedServices, template: str) -> Iterator[Database]:
    """A copy of a database, for as long as the block lasts."""
    name = f"test_{uuid4().hex}"
    _as_superuser(services, f"CREATE DATABASE {name} TEMPLATE {template} OWNER {OWNER}")
    copy = Database(services, name)
    yield copy
    copy.close()
    _as_superuser(services, f"DROP DATABASE {name} WITH (FORCE)")


def _as_superuser(services: EmbeddedServices, statement: str) -> None:
    url = services.postgres_url("postgres", "postgres").replace("+psycopg2", "")
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(statement)


@pytest.fixture(scope="session")
def live(services: EmbeddedServices) -> Iterator[LiveInstallation]:
    """Portal, worker and scheduler on services of their own, with leases of seconds instead of a minute."""
    quick = {"LEASE_SECONDS": "6", "RENEW_SECONDS": "1", "SWEEP_SECONDS": "1", "CHECKPOINT_SECONDS": "5"}
    overrides = {f"DERMABATCH_{name}": value for name, value in quick.items()}
    with (
        TemporaryDirectory(prefix="dermabatch-live-", ignore_cleanup_errors=True) as folder,
        running_installation(Path(folder), overrides=overrides) as installation,
    ):
        yield LiveInstallation.open(installation)


@pytest.fixture
def typed(monkeypatch, capsys):
    """Runs the command line; returns exit code, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["dermabatch", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capsys.readouterr()

    return run
