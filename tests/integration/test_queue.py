import time
from types import SimpleNamespace

import pytest
from pydantic import SecretStr
from redis import Redis

from dermabatch.queue import WORK_QUEUE, WakeUp


def wake_up_on(url):
    return WakeUp(SimpleNamespace(redis_url=SecretStr(url), worker_slots=3))


@pytest.fixture
def wake_up(redis_url):
    messenger = wake_up_on(redis_url)
    yield messenger
    messenger.close()


def test_one_chunk_is_one_message(wake_up):
    assert wake_up.send(1) == 1
    assert wake_up.waiting() == 1


def test_never_more_messages_wait_than_a_worker_has_slots(wake_up):
    assert wake_up.send(1000) == 3
    assert wake_up.send(1000) == 0
    assert wake_up.waiting() == 3


def test_a_message_names_nothing(wake_up, redis_url):
    wake_up.send(1)
    with Redis.from_url(redis_url) as redis:
        [message] = redis.lrange(WORK_QUEUE, 0, -1)
    assert b'"argsrepr": "()"' in message
    assert b'"kwargsrepr": "{}"' in message


def test_nobody_waits_for_a_redis_that_is_gone():
    messenger = wake_up_on("redis://127.0.0.1:1/0")
    started = time.monotonic()
    assert messenger.send(5) == 0
    assert time.monotonic() - started < 2


def test_nobody_waits_for_a_redis_that_hangs(redis_url, wake_up):
    wake_up.send(0)
    with Redis.from_url(redis_url) as redis:
        redis.execute_command("CLIENT", "PAUSE", "1500", "ALL")
    started = time.monotonic()
    assert wake_up.send(1) == 0
    assert time.monotonic() - started < 2
