"""Starts a program as it is, with points at which a test may strike it: python -m tests.faults.launcher -m worker.app

The program's own code knows nothing of this. At each named point the program looks into the folder FAULTS_ARMED: a
file of the point's name says what is to happen there, and is gone afterwards, so that it happens once. Where a test
has armed nothing, nothing happens.

FAULTS_CLOCK moves the program's clock by so many seconds, FAULTS_DECODERS names a module of decoder operations, and
with FAULTS_NO_MEMORY no picture can be classified.
"""

import datetime
import importlib
import os
import runpy
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partialmethod, wraps
from pathlib import Path
from typing import Any

ARMED, CLOCK = "FAULTS_ARMED", "FAULTS_CLOCK"
DECODERS, NO_MEMORY = "FAULTS_DECODERS", "FAULTS_NO_MEMORY"


@dataclass(frozen=True, kw_only=True)
class Point:
    """A moment in the life of a program, just before or after a function is called."""

    before: str = ""
    """Module and name, such as worker.pipeline:Pipeline._record."""
    after: str = ""
    key: str = ""
    """Only calls whose first argument, such as the key of an object, begins like this."""
    with_answer: bool = False
    """Only calls that found something."""


PORTAL = {
    "batch row committed": Point(after="dermabatch.intake.acceptance:_open_batch"),
    "pack row writing": Point(before="dermabatch.objects:S3ObjectStore.put", key="packs/"),
    "pack in the storage": Point(after="dermabatch.objects:S3ObjectStore.put", key="packs/"),
    "before the commit of a pack": Point(after="dermabatch.intake.storing:PackStorage._append_event"),
    "after the commit of a pack": Point(after="dermabatch.intake.storing:PackStorage.store"),
    "before accepted": Point(before="dermabatch.intake.acceptance:_accept"),
    "after accepted": Point(after="dermabatch.intake.acceptance:_accept"),
    "before the answer": Point(after="webui.handing_in:accept_upload"),
}
WORKER = {
    "claimed": Point(after="worker.pipeline:Pipeline._claim", with_answer=True),
    "fetched": Point(after="worker.pipeline:open_pictures"),
    "classified": Point(after="worker.pipeline:Pipeline._classify"),
    "derived object in the storage": Point(after="worker.pipeline:Pipeline._put_derived"),
    "before the commit of the results": Point(after="dermabatch.ledger:record"),
    "after the commit of the results": Point(after="worker.pipeline:Pipeline._record"),
}
INSIDE = {
    "engine runs": Point(before="dermabatch.engines.openvino_engine:OpenVinoEngine.run"),
    # With 30 s to answer the child holds an image; it gets longer to start.
    "image in quarantine": Point(before="worker.quarantine:_Child._answer_within", key="30"),
}
SCHEDULER = {
    "before the commit of lapsed chunks": Point(after="dermabatch.ledger:return_lapsed", with_answer=True),
    "before workers are woken": Point(after="dermabatch.ledger:waiting_chunks", with_answer=True),
    "before the commit of chained events": Point(
        after="dermabatch.audit.chainer:_chain_batch", with_answer=True
    ),
    "after the commit of chained events": Point(
        after="dermabatch.audit.chainer:Chainer.run_once", with_answer=True
    ),
    "before a checkpoint": Point(before="dermabatch.objects:S3ObjectStore.put", key="audit/"),
    "after a checkpoint": Point(after="dermabatch.objects:S3ObjectStore.put", key="audit/"),
}
POINTS_OF = {"gunicorn": PORTAL, "worker.app": WORKER | INSIDE, "worker.scheduler": SCHEDULER}


def die() -> None:
    """As the kernel kills for want of memory: the program with what it started."""
    os.killpg(os.getpgrp(), signal.SIGKILL)


def stop() -> None:
    """Every thread stands still until SIGCONT."""
    os.kill(os.getpid(), signal.SIGSTOP)


def run_out_of_memory() -> None:
    raise MemoryError


ACTIONS: dict[str, Callable[[], None]] = {
    action.__name__: action for action in (die, stop, run_out_of_memory)
}


def install(name: str, point: Point) -> None:
    """Let the program stop at this point for a look at what is armed."""
    module, _, path = (point.before or point.after).partition(":")
    *holders, function = path.split(".")
    holder: Any = importlib.import_module(module)
    for holder_name in holders:
        holder = getattr(holder, holder_name)
    real = getattr(holder, function)

    @wraps(real)
    def watched(*args: Any, **kwargs: Any) -> Any:
        meant = not point.key or str(args[1]).startswith(point.key)
        if meant and point.before:
            _look(name)
        answer = real(*args, **kwargs)
        if meant and point.after and (answer or not point.with_answer):
            _look(name)
        return answer

    setattr(holder, function, watched)


def _look(name: str) -> None:
    armed = Path(os.environ[ARMED]) / name
    mine = armed.with_name(f"struck by {os.getpid()}")
    try:
        armed.rename(mine)  # only one thread of all comes through here
    except FileNotFoundError:
        return
    ACTIONS[mine.read_text()]()


def move_clock(seconds: float) -> None:
    """Let this program live earlier or later. To be called before anything else is imported."""
    real_time, real_time_ns, real = time.time, time.time_ns, datetime.datetime

    class AnyDatetime(type):
        def __instancecheck__(cls, thing: object) -> bool:
            return isinstance(thing, real)

    class Moved(real, metaclass=AnyDatetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
            return real.now(tz) + datetime.timedelta(seconds=seconds)

    time.time = lambda: real_time() + seconds
    time.time_ns = lambda: real_time_ns() + int(seconds * 1e9)
    datetime.datetime = Moved  # type: ignore[misc]
    auth = importlib.import_module("botocore.auth")
    # The storage has the right time, as the database has, and refuses what is signed at another.
    auth.get_current_datetime = lambda: real.now(datetime.UTC).replace(tzinfo=None)


def take_memory_away() -> None:
    """The model is loaded, and from then on no picture finds room."""
    assessment = importlib.import_module("worker.assessment")
    assessment._assess = lambda *_: run_out_of_memory()


def use_decoders(operations: str) -> None:
    """Let every decoder of this program do what a module of the tests says."""
    sandbox = importlib.import_module("dermabatch.imaging.sandbox")
    sandbox.DecoderPool.__init__ = partialmethod(sandbox.DecoderPool.__init__, operations=operations)


def _prepare() -> None:
    if seconds := os.environ.get(CLOCK):
        move_clock(float(seconds))
    if operations := os.environ.get(DECODERS):
        use_decoders(operations)
    if NO_MEMORY in os.environ:
        take_memory_away()


def main(module: str, arguments: list[str]) -> None:
    _prepare()
    for name, point in POINTS_OF[module].items():
        install(name, point)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[2], sys.argv[3:])
elif __name__ == "__mp_main__":  # the worker's quarantine
    _prepare()
