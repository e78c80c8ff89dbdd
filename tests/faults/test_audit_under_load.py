"""The trail under more writers than a hospital has, one of which is stopped in the middle of its transaction."""

import base64
import signal
import subprocess
import sys
import threading
from contextlib import closing, contextmanager

import pytest
import sqlalchemy as sa
from structlog.testing import CapturingLogger

from cli.audit_bench import write_at_once
from dermabatch import audit
from dermabatch.audit import BacklogWatch, Chainer, chainer
from dermabatch.database import connect
from dermabatch.embedded.host import wait_until

WRITERS, EVENTS_EACH = 64, 500

APPENDS_AND_WAITS = """
import sys
import psycopg2
connection = psycopg2.connect(sys.argv[1])
cursor = connection.cursor()
cursor.execute("SELECT append_audit('image.view', 'success', NULL, 'service', 'stopped', NULL, NULL, NULL, NULL, '{}')")
print("appended", flush=True)
sys.stdin.readline()
connection.commit()
"""


@pytest.fixture
def keys(services):
    environment = services.environment("web")
    return [base64.b64decode(environment[f"DERMABATCH_{name}_KEY"]) for name in ("SIGNING", "VERIFY")]


@pytest.fixture
def log(monkeypatch):
    log = CapturingLogger()
    monkeypatch.setattr(chainer, "_log", log)
    return log


@pytest.fixture
def two_chainers(database, object_store, keys):
    """As two schedulers run them."""
    stop = threading.Event()
    threads = [
        threading.Thread(
            target=Chainer(database.sessions("chainer"), object_store, keys[0], checkpoint_seconds=1).run,
            args=(stop,),
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    yield
    stop.set()
    for thread in threads:
        thread.join()


@contextmanager
def writer_stopped_in_mid_transaction(database):
    """A process that has appended, not committed, and got SIGSTOP; goes on and commits in the end."""
    url = database.url("web").replace("+psycopg2", "")
    process = subprocess.Popen(
        [sys.executable, "-c", APPENDS_AND_WAITS, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "appended\n"
        process.send_signal(signal.SIGSTOP)
        yield
        process.send_signal(signal.SIGCONT)
        process.communicate("\n", timeout=30)
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()


def sources(database):
    with database.sessions("chainer").begin(auditor=True) as session:
        return dict(
            session.execute(sa.text("SELECT source, count(*) FROM audit_events GROUP BY source")).all()
        )


def test_64_writers_leave_no_fork_no_gap_and_no_alarm_and_wait_for_nobody(
    database, object_store, keys, log, two_chainers
):
    watch = BacklogWatch()
    with closing(connect(database.url("web"), pool_size=WRITERS)) as web:

        def waiting():
            with web.begin() as session:
                return watch.look(session)

        with writer_stopped_in_mid_transaction(database):
            load = write_at_once(web, writers=WRITERS, events_each=EVENTS_EACH)
            assert load.committed + load.rolled_back == WRITERS * EVENTS_EACH
            assert load.rolled_back == WRITERS * EVENTS_EACH // 10
            # Everybody has ended while the stopped one still holds its transaction.
            assert wait_until(lambda: waiting() == audit.Backlog(waiting=0, late=0), seconds=60)
            assert sources(database) == {"audit bench": load.committed}
        assert wait_until(lambda: sources(database).get("stopped") == 1, seconds=30)

        def verified():
            with web.begin(auditor=True) as session:
                return audit.verify(session, object_store, keys[1], full=True)

        assert wait_until(lambda: verified().signed_through == load.committed + 1, seconds=60)
        found = verified()
    assert (found.ok, found.events) == (True, load.committed + 1)
    alarms = [call.args[0] for call in log.calls]
    assert alarms == []
