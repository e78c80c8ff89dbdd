"""What `dermabatch up` starts, and what the environment puts in its place."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import sqlalchemy as sa

from cli.installation import running_installation
from dermabatch.errors import ConfigurationError


def test_services_of_ones_own_take_the_place_of_the_embedded_ones(
    database, services, redis_url, bucket, switch, monkeypatch
):
    switch("fsync", "on")  # or programs refuse it
    for role in ("owner", "web", "worker", "chainer", "trainer"):
        monkeypatch.setenv(f"DERMABATCH_{role.upper()}_URL", database.url(role))
    monkeypatch.setenv("DERMABATCH_REDIS_URL", redis_url)
    for name in ("S3_ENDPOINT", "S3_BUCKET", "S3_ACCESS_KEY", "S3_SECRET_KEY"):
        monkeypatch.setenv(f"DERMABATCH_{name}", services.environment("web")[f"DERMABATCH_{name}"])
    with (
        TemporaryDirectory(prefix="dermabatch-up-", ignore_cleanup_errors=True) as folder,
        running_installation(Path(folder)) as installation,
    ):
        assert set(installation.services.pids) == {"portal", "worker", "scheduler"}
        installation.person("you@hospital.example", "You", "administrator")
    with database.sessions("web").begin() as session:
        assert session.scalar(sa.text("SELECT count(*) FROM users WHERE email = 'you@hospital.example'")) == 1


def test_a_database_of_ones_own_needs_a_url_for_each_role(monkeypatch):
    monkeypatch.setenv("DERMABATCH_OWNER_URL", "postgresql+psycopg2://owner@db/dermabatch")
    with (
        TemporaryDirectory(prefix="dermabatch-up-") as folder,
        pytest.raises(ConfigurationError, match="DERMABATCH_WEB_URL"),
        running_installation(Path(folder)),
    ):
        pass
