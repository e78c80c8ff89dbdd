"""Micro-batches of all callers share one queue; the pressing ones overtake."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from queue import SimpleQueue
from threading import Barrier, Event

import numpy as np
import pytest

from dermabatch.engines.base import EngineOutput, Images
from dermabatch.engines.lanes import Lanes


def numbered(*numbers: int) -> Images:
    """Tiny images that can be told apart by their first value."""
    return np.array(numbers, np.uint8).reshape(-1, 1, 1, 1)


def echo(images: Images) -> EngineOutput:
    """An output that names the images it was computed from."""
    values = images[:, 0, 0].astype(np.float32)
    return EngineOutput(logits=values, embedding=values, cam=values)


def named(output: EngineOutput) -> list[int]:
    return output.logits[:, 0].astype(int).tolist()


class HeldLane:
    """One lane whose first micro-batch waits until it is let go; notes what came in which order."""

    def __init__(self) -> None:
        self.started, self.go = Event(), Event()
        self.order: list[int] = []

    def infer(self, images: Images) -> EngineOutput:
        self.started.set()
        assert self.go.wait(30)
        self.order += images[:, 0, 0, 0].tolist()
        return echo(images)


@pytest.fixture
def callers() -> Iterator[ThreadPoolExecutor]:
    """Threads that call an engine."""
    with ThreadPoolExecutor(16) as threads:
        yield threads


@pytest.mark.parametrize("micro_batch", [1, 2, 3, 64])
def test_outputs_come_in_the_order_of_the_images_however_they_were_cut(micro_batch: int) -> None:
    with closing(Lanes([echo] * 3, micro_batch, "test")) as lanes:
        assert named(lanes.run(numbered(*range(7)), priority=0)) == list(range(7))


def test_no_micro_batch_is_larger_than_agreed() -> None:
    sizes: SimpleQueue[int] = SimpleQueue()

    def infer(images: Images) -> EngineOutput:
        sizes.put(len(images))
        return echo(images)

    with closing(Lanes([infer], 3, "test")) as lanes:
        lanes.run(numbered(*range(7)), priority=0)
    assert [sizes.get() for _ in range(3)] == [3, 3, 1]


def test_every_caller_gets_the_outputs_of_its_own_images(callers: ThreadPoolExecutor) -> None:
    with closing(Lanes([echo] * 4, 2, "test")) as lanes:
        chunks = [tuple(range(start, start + 10)) for start in range(0, 240, 10)]
        outputs = callers.map(lambda chunk: named(lanes.run(numbered(*chunk), priority=0)), chunks)
        assert list(outputs) == [list(chunk) for chunk in chunks]


def test_lanes_work_at_the_same_time() -> None:
    both = Barrier(2, timeout=30)

    def infer(images: Images) -> EngineOutput:
        both.wait()  # breaks unless two lanes are in here together
        return echo(images)

    with closing(Lanes([infer, infer], 1, "test")) as lanes:
        lanes.run(numbered(1, 2), priority=0)


def test_pressing_images_overtake_those_that_wait_and_equals_keep_their_order(
    callers: ThreadPoolExecutor,
) -> None:
    lane = HeldLane()
    with closing(Lanes([lane.infer], 1, "test")) as lanes:
        waiting = [callers.submit(lanes.run, numbered(1, 2, 3), 1)]
        assert lane.started.wait(30)  # number 1 is being computed; 2 and 3 wait
        waiting.append(callers.submit(lanes.run, numbered(10, 11), 0))
        while lanes._jobs.qsize() < 4:
            pass
        lane.go.set()
        for output in waiting:
            output.result(30)
    assert lane.order == [1, 10, 11, 2, 3]


def test_an_error_reaches_its_caller_and_nobody_else(callers: ThreadPoolExecutor) -> None:
    def infer(images: Images) -> EngineOutput:
        if images[0, 0, 0, 0] == 13:
            raise ArithmeticError("13")
        return echo(images)

    with closing(Lanes([infer] * 2, 1, "test")) as lanes:
        bad = callers.submit(lanes.run, numbered(1, 13, 2), 0)
        good = callers.submit(lanes.run, numbered(4, 5), 0)
        assert named(good.result(30)) == [4, 5]
        with pytest.raises(ArithmeticError, match="13"):
            bad.result(30)
        assert named(lanes.run(numbered(6), priority=0)) == [6]


def test_closing_finishes_what_waits(callers: ThreadPoolExecutor) -> None:
    lane = HeldLane()
    lanes = Lanes([lane.infer], 1, "test")
    running = callers.submit(lanes.run, numbered(1, 2, 3), 1)
    assert lane.started.wait(30)
    closing_down = callers.submit(lanes.close)
    lane.go.set()
    closing_down.result(30)
    assert named(running.result(30)) == [1, 2, 3]


def test_a_closed_engine_says_so_and_may_be_closed_again() -> None:
    lanes = Lanes([echo], 1, "test")
    lanes.close()
    lanes.close()
    with pytest.raises(RuntimeError, match="closed"):
        lanes.run(numbered(1), priority=0)
