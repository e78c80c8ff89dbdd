"""One decoder process as the pool sees it: jobs in, outcomes out, and a new process where one died."""

import contextlib
import mmap
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeAlias, TypeVar

from dermabatch.errors import DecoderDied, ImageRejected, ServiceUnavailable
from dermabatch.imaging.decoder_wire import MAX_MESSAGE, pack, shared_memory, unpack
from dermabatch.imaging.forkserver import Forkserver
from dermabatch.imaging.rejection import RejectionReason

Result = TypeVar("Result")
Outcome: TypeAlias = Result | ImageRejected | DecoderDied
_START_SECONDS: Final = 30.0
_KEPT_MEMORY: Final = 8 * 2**20
"""Bytes that an idle decoder's shared memory may hold; a run that used more gives its pages back."""


@dataclass(frozen=True, slots=True)
class Job(Generic[Result]):
    """One call of a function in `operations`.

    Attributes:
        do: the function's name.
        data: the untrusted bytes.
        result_room: bytes that its result may take.
        read: makes the result of the answer's header, its tail, and the bytes in the room; raises ValueError,
            KeyError or TypeError where a decoder answers nonsense.
        arguments: the function's other arguments.
    """

    do: str
    data: bytes
    result_room: int
    read: Callable[[dict[str, Any], bytes, memoryview], Result]
    arguments: dict[str, int] = field(default_factory=dict)

    @property
    def memory(self) -> int:
        """Bytes of shared memory that it needs."""
        return len(self.data) + self.result_room


class Decoder:
    """A confined process and the memory shared with it; used by one thread at a time.

    Attributes:
        missing: protections that this system does not grant its process.
    """

    def __init__(self, forkserver: Forkserver, memory_size: int, wall_seconds: float) -> None:
        self._forkserver = forkserver
        self._wall_seconds = wall_seconds
        self._memory_fd, self._sealed = shared_memory(memory_size)
        self._memory = mmap.mmap(self._memory_fd, memory_size)
        self._view = memoryview(self._memory)
        self.missing: tuple[str, ...] = ()
        self._start()

    def run(self, jobs: Sequence[Job[Result]]) -> list[Outcome[Result]]:
        """Outcomes in the order of the jobs. A job that stops the process costs no other job anything.

        Raises:
            ServiceUnavailable: no process can be started.
        """
        outcomes: list[Outcome[Result]] = []
        while len(outcomes) < len(jobs):
            next_outcomes = self._run_until_death(jobs[len(outcomes) :])
            outcomes += next_outcomes
        return outcomes

    def close(self) -> None:
        """End the process and free the memory."""
        self._connection.close()
        self._forkserver.end(self._pid)
        self._view.release()
        self._memory.close()
        os.close(self._memory_fd)

    def _run_until_death(self, jobs: Sequence[Job[Result]]) -> list[Outcome[Result]]:
        """Outcomes of all jobs, or of the first ones where the last of these stopped the process."""
        rooms = self._send(jobs)
        outcomes: list[Outcome[Result]] = []
        for job, room in zip(jobs, rooms, strict=True):
            try:
                outcome = self._outcome(job, room)
                outcomes.append(outcome)
            except _Died as death:
                self._connection.close()
                how = self._forkserver.end(self._pid)
                outcomes.append(DecoderDied(f"the decoder {death or how} while it held this picture"))
                self._start()
                break
        if sum(job.memory for job in jobs) > _KEPT_MEMORY:
            self._memory.madvise(mmap.MADV_REMOVE)
        return outcomes

    def _send(self, jobs: Sequence[Job[Result]]) -> list[memoryview]:
        """Lay out the memory, rooms for the results and then the data; the rooms."""
        rooms, requests, at = [], [], 0
        for job in jobs:
            rooms.append(self._view[at : at + job.result_room])
            requests.append(
                {"do": job.do, "result_at": at, "result_room": job.result_room, "arguments": job.arguments}
            )
            at += job.result_room
        for job, request in zip(jobs, requests, strict=True):
            self._view[at : at + len(job.data)] = job.data
            request.update(at=at, length=len(job.data))
            at += len(job.data)
        message = pack({"jobs": requests})
        try:
            self._connection.send(message)
        except ConnectionError:  # it died while it was idle, which is no picture's fault
            self._connection.close()
            self._forkserver.end(self._pid)
            self._start()
            self._connection.send(message)
        return rooms

    def _outcome(self, job: Job[Result], room: memoryview) -> Result | ImageRejected:
        """The next answer, which is this job's: a decoder works in order.

        Raises:
            _Died: there is none; with the reason where it is known here.
        """
        try:
            message = self._connection.recv(MAX_MESSAGE)
        except TimeoutError:
            raise _Died(f"was stopped after {self._wall_seconds:g} s") from None
        except ConnectionError:
            raise _Died from None
        if not message:
            raise _Died
        try:
            header, tail = unpack(message)
            if "last_words" in header:
                raise _Died(f"failed with {header['last_words']}")
            if "rejected" in header:
                return ImageRejected(RejectionReason(header["rejected"]), str(header["message"]))
            return job.read(header, tail, room)
        except (ValueError, KeyError, TypeError) as error:
            raise _Died(f"answered nonsense ({error!r})") from None

    def _start(self) -> None:
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._pid = self._forkserver.spawn(theirs, self._memory_fd)
        self._connection.settimeout(_START_SECONDS)
        hello = b""
        with contextlib.suppress(OSError):
            hello = self._connection.recv(MAX_MESSAGE)
        if not hello:
            raise ServiceUnavailable(f"expected a decoder to start, but it {self._forkserver.end(self._pid)}")
        self._connection.settimeout(self._wall_seconds)
        self.missing = (*unpack(hello)[0]["missing"], *(() if self._sealed else ("sealed memory",)))


class _Died(Exception):
    """The process is dead, or must be."""
