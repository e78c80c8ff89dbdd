"""One decoder process as the pool sees it: jobs in, outcomes out, and a new process where one died."""

import contextlib
import mmap
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

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
        read: makes the result of the answer's header, its tail, and the bytes in the room. All three may be
            forged: it raises any error where they make no result.
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
        self._process: _Process | None = None
        self.missing: tuple[str, ...] = ()
        self._connection()

    def run(self, jobs: Sequence[Job[Result]]) -> list[Outcome[Result]]:
        """Outcomes in the order of the jobs. A job that stops the process costs no other job anything.

        Raises:
            ServiceUnavailable: no process can be started.
        """
        outcomes: list[Outcome[Result]] = []
        try:
            while len(outcomes) < len(jobs):
                next_outcomes = self._run_until_death(jobs[len(outcomes) :])
                outcomes += next_outcomes
        except BaseException:
            self._end()  # answers that are still to come would be taken for those of the next pictures
            raise
        if sum(job.memory for job in jobs) > _KEPT_MEMORY:
            with contextlib.suppress(OSError):  # a temporary file in its place may not know how
                self._memory.madvise(mmap.MADV_REMOVE)
        return outcomes

    def close(self) -> None:
        """End the process and free the memory."""
        self._end()
        os.close(self._memory_fd)
        with contextlib.suppress(BufferError):  # an error that somebody still looks at may hold a view
            self._view.release()
            self._memory.close()

    def _run_until_death(self, jobs: Sequence[Job[Result]]) -> list[Outcome[Result]]:
        """Outcomes of all jobs, or of the first ones where the last of these stopped the process."""
        requests, rooms = self._lay_out(jobs)
        connection = self._send(pack({"jobs": requests}))
        outcomes: list[Outcome[Result]] = []
        for job, room in zip(jobs, rooms, strict=True):
            try:
                outcome = _outcome(connection, job, room)
                outcomes.append(outcome)
            except TimeoutError:
                self._end()
                outcomes.append(_died(f"was stopped after {self._wall_seconds:g} s"))
                break
            except ConnectionError:
                outcomes.append(_died(self._end()))
                break
            except _NonsenseError as nonsense:
                self._end()
                outcomes.append(_died(str(nonsense)))
                break
        return outcomes

    def _lay_out(self, jobs: Sequence[Job[Result]]) -> tuple[list[dict[str, Any]], list[memoryview]]:
        """Fill the memory, rooms for all results and then all data: the requests that say so, and the rooms."""
        requests: list[dict[str, Any]] = []
        rooms: list[memoryview] = []
        result_at, at = 0, sum(job.result_room for job in jobs)
        for job in jobs:
            self._view[at : at + len(job.data)] = job.data
            rooms.append(self._view[result_at : result_at + job.result_room])
            requests.append(
                {
                    "do": job.do,
                    "at": at,
                    "length": len(job.data),
                    "result_at": result_at,
                    "result_room": job.result_room,
                    "arguments": job.arguments,
                }
            )
            result_at += job.result_room
            at += len(job.data)
        return requests, rooms

    def _send(self, message: bytes) -> socket.socket:
        """Send a message to a process that is alive; the connection to it."""
        try:
            self._connection().send(message)
        except ConnectionError:  # it was killed while it was idle, which is no picture's fault
            self._end()
            self._connection().send(message)
        return self._connection()

    def _connection(self) -> socket.socket:
        """To the process, which is started where there is none."""
        if self._process is None:
            self._process, missing = self._start()
            self.missing = missing if self._sealed else (*missing, "sealed memory")
        return self._process.connection

    def _start(self) -> tuple["_Process", tuple[str, ...]]:
        """A new process, and the protections that it misses."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            process = _Process(self._forkserver.spawn(theirs, self._memory_fd), ours)
        ours.settimeout(_START_SECONDS)
        try:
            hello, _ = unpack(_received(ours))
        except (OSError, ValueError) as error:
            ours.close()
            how = self._forkserver.end(process.pid)
            raise ServiceUnavailable(f"expected a decoder to start, but it {how}") from error
        ours.settimeout(self._wall_seconds)
        return process, tuple(hello["missing"])

    def _end(self) -> str:
        """End the process where there is one; how it ended, in words."""
        if self._process is None:
            return "was not running"
        process, self._process = self._process, None
        process.connection.close()
        return self._forkserver.end(process.pid)


class _Process(NamedTuple):
    pid: int
    connection: socket.socket


class _NonsenseError(Exception):
    """A decoder answered what no decoder answers, or that it failed; it must not go on."""


def _outcome(connection: socket.socket, job: Job[Result], room: memoryview) -> Result | ImageRejected:
    """The next answer, which is this job's: a decoder works in order.

    Raises:
        OSError: there is none.
        _NonsenseError: it cannot be believed.
    """
    message = _received(connection)
    try:
        header, tail = unpack(message)
        if "rejected" in header:
            return ImageRejected(RejectionReason(header["rejected"]), str(header["message"]))
        if "last_words" not in header:
            return job.read(header, tail, room)
    except Exception as error:  # an attacker chooses what comes
        raise _NonsenseError(f"answered nonsense ({error!r})") from error
    raise _NonsenseError(f"failed with {header['last_words']}")


def _received(connection: socket.socket) -> bytes:
    message = connection.recv(MAX_MESSAGE)
    if not message:
        raise ConnectionResetError("the other side is gone")
    return message


def _died(how: str) -> DecoderDied:
    return DecoderDied(f"the decoder {how} while it held this picture")
