"""The pool's handle on the program that decoders are forked from."""

import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from dermabatch.errors import ServiceUnavailable
from dermabatch.imaging.decoder_wire import MAX_MESSAGE, pack, unpack

_START_SECONDS: Final = 60.0
"""Importing OpenCV and pydicom takes half a second, but many of these on a cold disk."""

_ENVIRONMENT: Final = {
    "LANG": "C.UTF-8",
    # One decoder is one thread; a thread that a library starts would be lost in the fork.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENCV_LOG_LEVEL": "SILENT",  # what is said on standard error is then the codecs' alone
    # Memory that a picture needed is kept for the next one; giving it back and faulting it in again costs 0.9 ms.
    "MALLOC_MMAP_THRESHOLD_": str(16 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(32 * 2**20),
}
"""All that decoders inherit: the pool's own environment holds secrets."""


@dataclass(frozen=True, slots=True)
class _Program:
    process: subprocess.Popen[bytes]
    control: socket.socket

    def ask(self, request: dict[str, Any], fds: Sequence[int]) -> dict[str, Any]:
        """One request, one answer.

        Raises:
            OSError: it is dead, or does not answer.
        """
        socket.send_fds(self.control, [pack(request)], fds)
        message = self.control.recv(MAX_MESSAGE)
        if not message:
            raise ConnectionResetError("it hung up")
        return unpack(message)[0]

    def stop(self) -> None:
        self.control.close()
        self.process.kill()
        self.process.wait()


class Forkserver:
    """Starts and ends decoders; thread-safe. Its program is started when needed, and again where it was killed."""

    def __init__(self, operations: str, memory_bytes: int) -> None:
        self._arguments = (operations, str(memory_bytes))
        self._lock = threading.Lock()
        self._program: _Program | None = None

    def spawn(self, connection: socket.socket, memory_fd: int) -> int:
        """Fork a decoder that serves `connection`; its process id.

        Raises:
            ServiceUnavailable: the program cannot be started.
        """
        fds = (connection.fileno(), memory_fd)
        with self._lock:
            try:
                return int(self._ask({"do": "spawn"}, fds)["pid"])
            except OSError:
                pass  # somebody killed the program since it was last needed: a new one takes its place
            try:
                return int(self._ask({"do": "spawn"}, fds)["pid"])
            except OSError as error:
                raise ServiceUnavailable(
                    f"expected the program that decoders are forked from to start, but {error}"
                ) from error

    def end(self, pid: int) -> str:
        """Kill a decoder unless it is dead already; how it ended, in words."""
        with self._lock:
            try:
                return str(self._ask({"do": "end", "pid": pid}, ())["how"])
            except OSError:
                return "ended with its parent process"

    def close(self) -> None:
        """End the program and every decoder with it; harmless when repeated."""
        with self._lock:
            self._stop()

    def _ask(self, request: dict[str, Any], fds: Sequence[int]) -> dict[str, Any]:
        if self._program is None:
            self._program = self._start()
        try:
            return self._program.ask(request, fds)
        except OSError:
            self._stop()
            raise

    def _start(self) -> _Program:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            fd = theirs.fileno()
            process = subprocess.Popen(
                # Isolated: neither the working directory nor PYTHON* variables choose what is imported.
                [sys.executable, "-I", "-m", "dermabatch.imaging.decoder_parent", str(fd), *self._arguments],
                env=_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[fd],
                start_new_session=True,
            )
        ours.settimeout(_START_SECONDS)
        return _Program(process, ours)

    def _stop(self) -> None:
        if self._program is not None:
            self._program.stop()
            self._program = None
