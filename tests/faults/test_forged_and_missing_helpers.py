"""Two schedulers, none, and messages that nobody of ours has sent."""

import base64
import json
import pickle
from uuid import uuid4

import pytest
from redis import Redis

from dermabatch.queue import WORK_QUEUE, WORK_TASK
from tests.live import small_lesions

IMAGES = 8


def test_two_schedulers_do_what_one_does(live, striker):
    striker.start("scheduler", name="second scheduler")
    striker.start("worker")
    striker.arm("claimed")
    batch = live.client.submit(small_lesions(IMAGES, first_seed=140_000))
    striker.wait_until_struck("claimed")
    assert live.answered(batch) == IMAGES
    assert live.lapses(batch) == 1
    striker.end("second scheduler")


def test_without_a_scheduler_work_goes_on_and_the_trail_is_chained_once_one_is_back(live):
    live.installation.services.kill("scheduler")
    batch = live.client.submit(small_lesions(IMAGES, first_seed=141_000))
    assert live.answered(batch) == IMAGES
    live.installation.start("scheduler")
    live.assert_trail_holds()


class Exploit:
    """Would run a program where somebody unpickles it."""

    def __init__(self, folder):
        self._mark = folder / "unpickled"

    def __reduce__(self):
        return (type(self._mark).touch, (self._mark,))


def message(*, task=WORK_TASK, body=None, content_type="application/json"):
    """As Celery lays one into Redis."""
    body = json.dumps([[], {}, {}]).encode() if body is None else body
    return json.dumps(
        {
            "body": base64.b64encode(body).decode(),
            "content-encoding": "utf-8",
            "content-type": content_type,
            "headers": {"lang": "py", "task": task, "id": str(uuid4())},
            "properties": {
                "body_encoding": "base64",
                "correlation_id": str(uuid4()),
                "delivery_info": {"exchange": "", "routing_key": WORK_QUEUE},
                "delivery_mode": 2,
                "delivery_tag": str(uuid4()),
                "priority": 0,
            },
        }
    )


@pytest.mark.parametrize(
    "forged",
    [
        message(body=json.dumps([[str(uuid4())], {}, {}]).encode()),
        message(body=json.dumps([[], {"chunk": 7}, {}]).encode()),
        message(body=b"[[[[["),
        message(body=b'"a word"'),
        message(task="os.system", body=json.dumps([["true"], {}, {}]).encode()),
        json.dumps({"body": 7}),
        json.dumps(["neither", "head", "nor", "body"]),
        "not a message at all",
        b"\x80\x04\x95",
    ],
    ids=["id", "argument", "broken", "a word", "task", "no head", "a list", "text", "bytes"],
)
def test_a_forged_message_is_no_work_and_stops_nobody(live, forged):
    assert_nothing_comes_of(live, forged)


def test_a_pickle_in_the_queue_is_never_opened(live, tmp_path):
    exploit = pickle.dumps(Exploit(tmp_path))
    assert_nothing_comes_of(live, message(body=exploit, content_type="application/x-python-serialize"))
    assert list(tmp_path.iterdir()) == []


def assert_nothing_comes_of(live, forged):
    with Redis.from_url(live.installation.services.redis_url) as redis:
        redis.rpush(WORK_QUEUE, forged)
    batch = live.client.submit(small_lesions(IMAGES, first_seed=142_000))
    assert live.answered(batch) == IMAGES
    assert live.lapses(batch) == 0
