"""The main job under the faults of every day, on the real services."""

import os
import signal
import time

from redis import Redis

from dermabatch.embedded.host import wait_until
from dermabatch.queue import WORK_QUEUE
from tests.live import small_lesions


def test_a_worker_killed_in_mid_chunk_loses_and_doubles_nothing(live):
    batch = live.client.submit(small_lesions(400))
    assert wait_until(lambda: live.running_chunks() > 0, seconds=60)
    live.installation.services.kill("worker")
    assert not live.counts(batch).done
    live.installation.start("worker")
    assert live.answered(batch) == 400
    live.assert_nothing_lost([batch], images=400)


def test_a_worker_told_to_stop_finishes_what_it_holds_and_lets_nothing_lapse(live):
    batch = live.client.submit(small_lesions(600, first_seed=60_000))
    assert wait_until(lambda: live.running_chunks() > 0, seconds=60)
    process_id = live.installation.services.pids["worker"]
    os.kill(process_id, signal.SIGTERM)
    assert wait_until(lambda: live.installation.services.pids.get("worker") != process_id, seconds=10)
    assert live.answered(batch) == 600
    assert live.lapses(batch) == 0
    live.assert_nothing_lost([batch], images=600)


def test_redis_flushed_with_5000_images_queued_delays_and_nothing_more(without_worker):
    live = without_worker
    batches = [
        live.client.submit(small_lesions(1000, first_seed=seed)) for seed in range(10_000, 15_000, 1000)
    ]
    with Redis.from_url(live.installation.services.redis_url) as redis:
        assert redis.llen(WORK_QUEUE) > 0
        redis.flushall()
    live.installation.start("worker")
    for batch in batches:
        assert live.answered(batch) == 1000
    live.assert_nothing_lost(batches, images=5000)


def test_uploads_are_answered_within_two_seconds_while_redis_is_away(live):
    live.installation.services.kill("redis")
    batches, slowest = [], 0.0
    for seed in range(30_000, 30_050, 10):
        started = time.monotonic()
        batches.append(live.client.submit(small_lesions(10, first_seed=seed)))
        slowest = max(slowest, time.monotonic() - started)
    live.installation.services.restart("redis")
    for batch in batches:
        assert live.answered(batch) == 10
    live.assert_nothing_lost(batches, images=50)
    assert slowest < 2


def test_every_message_delivered_ten_times_is_one_piece_of_work(without_worker):
    live = without_worker
    batch = live.client.submit(small_lesions(200, first_seed=40_000))
    with Redis.from_url(live.installation.services.redis_url) as redis:
        messages = redis.lrange(WORK_QUEUE, 0, -1)
        assert messages
        for message in messages:
            redis.rpush(WORK_QUEUE, *[message] * 9)
    live.installation.start("worker")
    assert live.answered(batch) == 200
    live.assert_nothing_lost([batch], images=200)


def test_a_message_that_nobody_sent_is_no_work(live):
    with Redis.from_url(live.installation.services.redis_url) as redis:
        redis.rpush(WORK_QUEUE, b"not a message at all")
    batch = live.client.submit(small_lesions(5, first_seed=50_000))
    assert live.answered(batch) == 5
    live.assert_nothing_lost([batch], images=5)
