"""PostgreSQL that is killed again and again, and commits that happened although nobody was told."""

import contextlib
import random
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from uuid import uuid4

import pytest
import sqlalchemy as sa

from dermabatch.embedded.host import wait_until
from dermabatch.errors import InvalidRequest, ServiceUnavailable
from tests.faults.proof import give_up_silent_uploads
from tests.faults.striking import PATIENCE_SECONDS
from tests.faults.tcp_proxy import DatabaseProxy
from tests.live import small_lesions

IMAGES = 8
UPLOAD = small_lesions(IMAGES, first_seed=90_000)

UPLOADS_UNDER_LOAD, IMAGES_UNDER_LOAD = 50, 100
LEAST_KILLS = 5
UP_SECONDS = (2, 8)
"""For how long PostgreSQL runs until it is killed the next time."""


@pytest.fixture(scope="module")
def proxy(live):
    with DatabaseProxy(sa.make_url(live.installation.services.postgres_url("web")).port) as proxy:
        yield proxy


@pytest.fixture
def start(live, striker, proxy):
    """Starts a program whose way to the database leads through the proxy."""

    def start(program):
        names = ("DERMABATCH_DATABASE_URL", "DERMABATCH_CHAINER_URL")
        direct = {name: live.installation.environment(program)[name] for name in names}
        through = {
            name: sa.make_url(url).set(port=proxy.port).render_as_string(hide_password=False)
            for name, url in direct.items()
        }
        striker.start(program, **through)

    return start


@pytest.mark.parametrize("words", ["INSERT INTO batches", "INSERT INTO packs", "INSERT INTO images"])
def test_an_upload_whose_commit_was_not_answered_can_be_repeated_at_once(live, start, proxy, words):
    start("portal")
    key = str(uuid4())
    proxy.cut_the_answer_to_the_commit_of(words)
    with pytest.raises(ServiceUnavailable):
        live.hand_in(UPLOAD, key=key)
    assert proxy.cut.is_set()
    batch = live.hand_in(UPLOAD, key=key)
    assert live.answered(batch) == IMAGES


def test_an_upload_whose_acceptance_was_not_answered_is_accepted_once(live, start, proxy):
    start("portal")
    key = str(uuid4())
    proxy.cut_the_answer_to_the_commit_of("accepted_at=clock_timestamp()")
    with pytest.raises(ServiceUnavailable):
        live.hand_in(UPLOAD, key=key)
    assert proxy.cut.is_set()
    accepted = newest_batch(live)
    assert live.hand_in(UPLOAD, key=key) == accepted
    assert live.answered(accepted) == IMAGES


@pytest.mark.parametrize(
    ("words", "lapses"),
    [
        # The chunk is claimed by a worker that knows nothing of it.
        ("FROM chunks JOIN packs", 1),
        # Recorded. The worker takes it for lost and gives it back, in vain.
        ("INSERT INTO predictions", 0),
    ],
)
def test_a_worker_whose_commit_was_not_answered_does_nothing_twice(live, start, proxy, words, lapses):
    start("worker")
    proxy.cut_the_answer_to_the_commit_of(words)
    batch = live.client.submit(UPLOAD)
    assert live.answered(batch) == IMAGES
    assert proxy.cut.is_set()
    assert live.lapses(batch) == lapses


def test_a_chainer_whose_commit_was_not_answered_chains_nothing_twice(live, start, striker, proxy):
    start("scheduler")
    proxy.cut_the_answer_to_the_commit_of("INSERT INTO audit_events")
    batch = live.client.submit(UPLOAD)
    striker.wait_until(proxy.cut.is_set, "the connection is cut")
    assert live.answered(batch) == IMAGES
    live.assert_trail_holds()


@pytest.fixture
def forgetful_server(live):
    """PostgreSQL with fsync off."""
    with live.superuser() as connection:
        connection.execute(sa.text("ALTER SYSTEM SET fsync = off"))
        connection.execute(sa.text("SELECT pg_reload_conf()"))
        yield
        connection.execute(sa.text("ALTER SYSTEM RESET fsync"))
        connection.execute(sa.text("SELECT pg_reload_conf()"))


@pytest.mark.parametrize("program", ["portal", "worker", "scheduler"])
def test_no_program_starts_on_a_server_that_may_forget_what_it_confirmed(live, forgetful_server, program):
    address = live.installation.portal_url.removeprefix("http://")
    ended = subprocess.run(
        [word.replace(address, "127.0.0.1:0") for word in live.installation.command(program)],
        env=live.installation.environment(program),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert ended.returncode != 0
    assert "ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf();" in ended.stderr


@contextlib.contextmanager
def killed_at_random(live):
    """Until the block ends, PostgreSQL is killed at random times and comes back; says how often."""
    kills, over = Counter(), Event()

    def kill():
        while not over.wait(random.uniform(*UP_SECONDS)):
            live.installation.services.restart("postgres")
            kills.update(["postgres"])

    with ThreadPoolExecutor(1) as threads:
        killing = threads.submit(kill)
        try:
            yield kills
        finally:
            over.set()
        killing.result()


def test_postgresql_killed_at_random_under_load_delays_and_nothing_more(live):
    with killed_at_random(live) as kills:
        batches = [
            hand_in_until_accepted(live, first_seed=91_000 + IMAGES_UNDER_LOAD * number)
            for number in range(UPLOADS_UNDER_LOAD)
        ]
    assert kills.total() >= LEAST_KILLS
    for batch in batches:
        assert live.answered(batch) == IMAGES_UNDER_LOAD


def hand_in_until_accepted(live, first_seed):
    """As a patient program does."""
    uploads, key, accepted = small_lesions(IMAGES_UNDER_LOAD, first_seed=first_seed), str(uuid4()), []

    def hand_in():
        try:
            accepted.append(live.hand_in(uploads, key=key))
        except InvalidRequest:
            # The database went down before the upload could be given up in it.
            with contextlib.suppress(ServiceUnavailable):
                give_up_silent_uploads(live)
        except ServiceUnavailable:
            pass
        return bool(accepted)

    assert wait_until(hand_in, seconds=PATIENCE_SECONDS)
    return accepted[0]


def newest_batch(live):
    with live.behind.begin() as session:
        return str(session.scalar(sa.text("SELECT id FROM batches ORDER BY id DESC LIMIT 1")))
