"""Redis that forgets, stands still and is killed again and again: messages are hints, and everybody knows."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from redis import Redis

from dermabatch.queue import WORK_QUEUE
from tests.live import small_lesions

UPLOADS, IMAGES = 5, 1000
RESTARTS = 50
ANSWER_SECONDS = 2
CONSUMED_AGAIN_SECONDS = 30
PAUSE_SECONDS = 8


@pytest.fixture
def queued(without_worker):
    """Uploads that wait for a worker, and a message of them in the queue."""
    live = without_worker
    batches = [
        live.client.submit(small_lesions(IMAGES, first_seed=120_000 + 1000 * number))
        for number in range(UPLOADS)
    ]
    with Redis.from_url(live.installation.services.redis_url) as redis:
        assert redis.llen(WORK_QUEUE) > 0
    return batches


def assert_all_answered(live, batches):
    for batch in batches:
        assert live.answered(batch) == IMAGES


def test_redis_killed_with_images_queued_forgets_the_messages_and_nothing_more(live, queued):
    live.installation.services.restart("redis")
    live.installation.start("worker")
    assert_all_answered(live, queued)


@contextmanager
def slowest_answer(live):
    """Hands in small batches until the block ends; says which they were and how long the slowest answer took."""
    stop, batches, seconds = threading.Event(), [], []

    def hand_in():
        first_seed = 130_000
        while not stop.is_set() or not batches:
            uploads = small_lesions(5, first_seed=first_seed)
            started = time.monotonic()
            batches.append(live.client.submit(uploads))
            seconds.append(time.monotonic() - started)
            first_seed += 5

    with ThreadPoolExecutor(1) as threads:
        handing_in = threads.submit(hand_in)
        try:
            yield batches, seconds
        finally:
            stop.set()
        handing_in.result()


def test_uploads_are_answered_in_time_while_redis_stands_still(live):
    patient = Redis.from_url(live.installation.services.redis_url, socket_timeout=2 * PAUSE_SECONDS)
    with slowest_answer(live) as (batches, seconds), patient as redis:
        redis.client_pause(PAUSE_SECONDS * 1000)
        started = time.monotonic()
        redis.ping()  # answered when the pause is over
        assert time.monotonic() - started > PAUSE_SECONDS - 1
    for batch in batches:
        assert live.answered(batch) == 5
    assert max(seconds) < ANSWER_SECONDS


def test_redis_restarted_again_and_again_under_load_delays_and_nothing_more(live, striker):
    with slowest_answer(live) as (batches, seconds):
        for _ in range(RESTARTS):
            handed_in = len(batches)
            live.installation.services.restart("redis")
            striker.wait_until(lambda: len(batches) > handed_in, "another upload is answered")  # noqa: B023
    back = time.monotonic()
    for batch in batches:
        assert live.answered(batch) == 5
    assert time.monotonic() - back < CONSUMED_AGAIN_SECONDS
    assert max(seconds) < ANSWER_SECONDS
