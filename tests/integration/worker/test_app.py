"""The worker as a process of its own: starting before the services, and stopping."""

import os
import signal
import subprocess
import sys

import pytest

from dermabatch.embedded.host import wait_until

NOWHERE = {
    "DERMABATCH_DATABASE_URL": "postgresql+psycopg2://dermabatch_worker@127.0.0.1:1/dermabatch",
    "DERMABATCH_REDIS_URL": "redis://:nobody-listens-there@127.0.0.1:1/0",
    "DERMABATCH_S3_ENDPOINT": "http://127.0.0.1:1",
}


@pytest.fixture
def worker_among_ruins(services, tmp_path):
    """A worker that finds no service at all, and its log."""
    log = tmp_path / "worker.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "worker.app"],
            env={**os.environ, **services.environment("worker"), **NOWHERE},
            stdout=stream,
            stderr=stream,
        )
        yield process, log
        process.kill()
        process.wait()


def test_a_worker_that_starts_before_its_services_waits_for_them_and_stops_when_told(worker_among_ruins):
    process, log = worker_among_ruins
    assert wait_until(lambda: "Cannot connect to redis" in log.read_text(), seconds=60), log.read_text()
    assert "no_model_yet" in log.read_text()
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=10)
    assert process.returncode == 0, log.read_text()
    assert "Traceback" not in log.read_text()
