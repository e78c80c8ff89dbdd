"""The pool's handle on the program that decoders are forked from."""

import socket
import subprocess
import sys
import threading
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
}
"""All that decoders inherit: the pool's own environment holds secrets."""


class Forkserver:
    """Starts and ends decoders; thread-safe. Restarts its program where somebody killed it."""

    def __init__(self, operations: str, memory_bytes: int) -> None:
        self._arguments = (operations, str(memory_bytes))
        self._lock = threading.Lock()
        self._control, self._process = self._start()

    def spawn(self, connection: socket.socket, memory_fd: int) -> int:
        """Fork a decoder that serves `connection`; its process id.

        Raises:
            ServiceUnavailable: the program cannot be started.
        """
        fds = [connection.fileno(), memory_fd]
        with self._lock:
            try:
                answer = self._ask({"do": "spawn"}, fds)
            except OSError:
                self._stop()
                self._control, self._process = self._start()
                try:
                    answer = self._ask({"do": "spawn"}, fds)
                except OSError as error:
                    raise ServiceUnavailable(
                        f"expected the decoders' parent to start, but it ended: {error}"
                    ) from error
            return int(answer["pid"])

    def end(self, pid: int) -> str:
        """Kill a decoder unless it is dead already; how it ended, in words."""
        with self._lock:
            try:
                return str(self._ask({"do": "end", "pid": pid}, [])["how"])
            except OSError:
                return "ended with its parent process"

    def close(self) -> None:
        """End the program and every decoder; harmless when repeated."""
        with self._lock:
            self._stop()

    def _start(self) -> tuple[socket.socket, subprocess.Popen[bytes]]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            fd = theirs.fileno()
            process = subprocess.Popen(
                [sys.executable, "-I", "-m", "dermabatch.imaging.decoder_parent", str(fd), *self._arguments],
                env=_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[fd],
                start_new_session=True,
            )
        ours.settimeout(_START_SECONDS)
        return ours, process

    def _stop(self) -> None:
        self._control.close()
        self._process.wait()

    def _ask(self, request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        socket.send_fds(self._control, [pack(request)], fds)
        message = self._control.recv(MAX_MESSAGE)
        if not message:
            raise ConnectionResetError("the decoders' parent hung up")
        return unpack(message)[0]
