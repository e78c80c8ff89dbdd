"""One queue of micro-batches for all callers of an engine, and the lanes that work it off."""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from queue import PriorityQueue
from threading import Lock, Thread

import numpy as np

from dermabatch.engines.base import EngineOutput, Images

Infer = Callable[[Images], EngineOutput]


@dataclass(frozen=True, slots=True, order=True)
class _Job:
    """A micro-batch that waits; jobs compare by priority, then by age."""

    priority: float
    number: int
    images: Images = field(compare=False)
    output: Future[EngineOutput] = field(compare=False)


_LAST = math.inf
"""Priority of the job that ends a lane: after everything that waits."""


class Lanes:
    """Threads that each run one micro-batch at a time, the most pressing first.

    A chunk is cut small, so that an image somebody waits for is computed after the micro-batches in hand and not
    after the chunks in hand.

    Args:
        infer: one function a lane; each is called from its own thread only.
        micro_batch: images a call gets at most.
        name: of the threads.
    """

    def __init__(self, infer: Sequence[Infer], micro_batch: int, name: str) -> None:
        self._micro_batch = micro_batch
        self._jobs: PriorityQueue[_Job] = PriorityQueue()
        self._numbers = count()
        self._closed = False
        self._lock = Lock()
        self._threads = [
            Thread(target=self._work, args=(function,), name=f"{name}-{number}", daemon=True)
            for number, function in enumerate(infer)
        ]
        for thread in self._threads:
            thread.start()

    def run(self, images: Images, priority: int) -> EngineOutput:
        """Cut the images into micro-batches, wait for all of them, and join what they gave.

        Raises:
            RuntimeError: the lanes are closed.
        """
        images = np.ascontiguousarray(images)
        cuts = range(0, len(images), self._micro_batch)
        outputs = self._put([images[cut : cut + self._micro_batch] for cut in cuts], priority)
        try:
            return EngineOutput.joined([output.result() for output in outputs])
        finally:
            for output in outputs:
                output.cancel()  # does nothing unless one of them failed

    def close(self) -> None:
        """Finish what waits and end the threads; harmless when repeated."""
        with self._lock:
            if not self._closed:
                self._closed = True
                for _ in self._threads:
                    self._jobs.put(_Job(_LAST, next(self._numbers), np.empty(0, np.uint8), Future()))
        for thread in self._threads:
            thread.join()

    def _put(self, batches: Sequence[Images], priority: int) -> list[Future[EngineOutput]]:
        with self._lock:  # nothing may queue up behind the jobs that end the lanes
            if self._closed:
                raise RuntimeError("the engine is closed")
            jobs = [_Job(priority, next(self._numbers), batch, Future()) for batch in batches]
            for job in jobs:
                self._jobs.put(job)
        return [job.output for job in jobs]

    def _work(self, infer: Infer) -> None:
        while (job := self._jobs.get()).priority != _LAST:
            if not job.output.set_running_or_notify_cancel():
                continue
            try:
                job.output.set_result(infer(job.images))
            except BaseException as error:
                job.output.set_exception(error)
