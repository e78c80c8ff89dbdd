"""The parent's side of `supervisor`: start it, ask it, end it."""

import contextlib
import dataclasses
import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from dermabatch.embedded import supervisor
from dermabatch.embedded.host import POLL_SECONDS
from dermabatch.embedded.supervisor import Program
from dermabatch.errors import ConfigurationError, ServiceUnavailable

_ENDED = "The supervisor of the embedded services has ended, and they with it."


@dataclasses.dataclass(frozen=True)
class ProgramStatus:
    """`exit_status` is None while it runs, negative if a signal ended it; `starts` counts its processes so far."""

    pid: int
    exit_status: int | None
    starts: int


class Supervision:
    """A supervisor process of our own, which holds the folder's lock and ends with this process. Thread-safe.

    Raises:
        ConfigurationError: another process holds the folder.
    """

    def __init__(self, folder: Path) -> None:
        self._turn = threading.Lock()
        self._socket, theirs = socket.socketpair()
        with theirs:
            # In its own session, so that Ctrl-C reaches only this process, which then stops things in order.
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", supervisor.__file__, str(folder / "lock")],
                stdin=theirs.fileno(),
                start_new_session=True,
            )
        self._answers = self._socket.makefile("r", encoding="utf-8")
        holder = self._next_answer()["held_by"]
        if holder is not None:
            self._process.wait()
            raise ConfigurationError(
                f"{folder} is in use by process {holder}: stop that one first, or choose another folder."
            )

    def start(self, program: Program) -> None:
        """Start it in place of what ran under this name."""
        self._ask({"do": "start", "program": dataclasses.asdict(program)})

    def run(self, program: Program) -> int:
        """Start a program that ends by itself, wait for that, and return its exit status."""
        self.start(program)
        while (exit_status := self.status()[program.name].exit_status) is None:
            time.sleep(POLL_SECONDS)
        return exit_status

    def kill(self, name: str) -> None:
        """Kill one program, as a crash would, and leave it down."""
        self._ask({"do": "kill", "name": name})

    def status(self) -> dict[str, ProgramStatus]:
        """Every program that was started, by name."""
        answer = self._ask({"do": "status"})
        return {name: ProgramStatus(**status) for name, status in answer["status"].items()}

    def stop(self) -> None:
        """End every program, the latest first, then the supervisor. The second time this does nothing."""
        with contextlib.suppress(ServiceUnavailable):
            self._ask({"do": "stop"})
        self._answers.close()
        self._socket.close()
        self._process.wait()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._turn:
            try:
                self._socket.sendall(json.dumps(request).encode() + b"\n")
            except OSError as error:
                raise ServiceUnavailable(_ENDED) from error
            answer = self._next_answer()
        if "error" in answer:
            raise ServiceUnavailable(f"The supervisor could not {request['do']} a program: {answer['error']}")
        return answer

    def _next_answer(self) -> dict[str, Any]:
        line = self._answers.readline()
        if not line:
            raise ServiceUnavailable(_ENDED)
        answer: dict[str, Any] = json.loads(line)
        return answer
