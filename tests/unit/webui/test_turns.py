"""Uploads take turns."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest

from dermabatch.errors import Crowded
from webui.turns import COME_BACK_AFTER, Turns

PATIENCE_SECONDS = 10


@pytest.fixture
def crowd():
    with ThreadPoolExecutor(8) as pool:
        yield pool


def test_so_many_have_a_turn_at_once_and_the_next_waits_for_one_to_end(crowd):
    turns, both_inside, end = Turns(at_once=2, waiting=1), Barrier(3), Event()

    def upload():
        with turns.take():
            both_inside.wait(PATIENCE_SECONDS)
            assert end.wait(PATIENCE_SECONDS)

    uploads = [crowd.submit(upload) for _ in range(2)]
    both_inside.wait(PATIENCE_SECONDS)
    third = Event()

    def next_upload():
        with turns.take():
            third.set()

    uploads.append(crowd.submit(next_upload))
    assert not third.wait(0.1)
    end.set()
    assert third.wait(PATIENCE_SECONDS)
    for upload in uploads:
        upload.result()


def test_who_finds_no_room_to_wait_is_told_when_to_come_back():
    turns = Turns(at_once=1, waiting=0)

    with turns.take(), pytest.raises(Crowded) as refused, turns.take():
        pass

    assert refused.value.wait == COME_BACK_AFTER


def test_an_upload_that_fails_gives_its_turn_back():
    turns = Turns(at_once=1, waiting=0)

    for _ in range(3):
        with pytest.raises(ValueError, match="bad"), turns.take():
            raise ValueError("bad")
