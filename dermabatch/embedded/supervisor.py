"""The process that starts programs for one parent, keeps them alive, and ends them with it.

It runs as a script on the standard library alone, so that it is up in a few hundredths of a second. The parent holds the
other end of a socket and writes one JSON object a line; each is answered by one line:

    {"do": "start", "program": {...}}    start it, or start it again after a stop or a kill
    {"do": "kill", "name": "redis"}      SIGKILL, and leave it down
    {"do": "status"}                     what runs, and what ended how
    {"do": "stop"}                       end everything in order, answer, and end

The end of the parent, known by its pidfd and by the end of the socket, ends everything at once.
"""

import contextlib
import ctypes
import dataclasses
import fcntl
import json
import os
import pathlib
import pwd
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

STOP_SECONDS = 10.0
ABANDONED_STOP_SECONDS = 1.0
RESTART_SECONDS = 1.0
LOCK_SECONDS = 10.0
POLL_SECONDS = 0.02

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


@dataclasses.dataclass(frozen=True)
class Program:
    """What to run and how it likes to be ended.

    `stop_signal` asks for an orderly end; the kernel sends `death_signal` if the supervisor itself is killed.
    `account` is the unprivileged user to run as when the supervisor is root. A program that ends without being asked to
    is started again after a second if it is to be `kept_alive`. `leftovers` are files that it leaves behind.
    """

    name: str
    argv: list[str]
    log_path: str
    environment: dict[str, str]
    stop_signal: int = signal.SIGTERM
    death_signal: int = signal.SIGKILL
    account: str | None = None
    kept_alive: bool = False
    leftovers: list[str] = dataclasses.field(default_factory=list)


class Child:
    """One program and its present process."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.wanted = True
        self.restart_at: float | None = None
        self._start()

    def _start(self) -> None:
        program = self.program
        self.restart_at = None
        self._remove_leftovers()
        log = os.open(program.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self.process = subprocess.Popen(
                program.argv,
                env=program.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=self._die_with_supervisor,  # noqa: PLW1509 - this process has one thread
                **_identity(program.account),
            )
        finally:
            os.close(log)
        self.pidfd = os.pidfd_open(self.process.pid)

    def _die_with_supervisor(self) -> None:
        # Runs after the change of user, which would clear it. The signal comes when the *thread* that forked ends.
        _libc.prctl(_PR_SET_PDEATHSIG, int(self.program.death_signal))

    def ended(self, now: float) -> None:
        """Its process has ended: note when to start it again."""
        self.process.wait()
        os.close(self.pidfd)
        if self.wanted and self.program.kept_alive:
            self.restart_at = now + RESTART_SECONDS
        else:
            self._remove_leftovers()

    def restart(self) -> None:
        self._start()

    def ask_to_stop(self) -> None:
        self.wanted = False
        self.restart_at = None
        if self.process.poll() is None:
            self.process.send_signal(self.program.stop_signal)

    def kill_by(self, deadline: float) -> None:
        """Wait for the end until `deadline` (monotonic seconds), then kill the whole process group."""
        while self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        self.kill()

    def kill(self) -> None:
        self.wanted = False
        self.restart_at = None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._remove_leftovers()

    def status(self) -> dict[str, Any]:
        return {"pid": self.process.pid, "exit_status": self.process.poll()}

    def _remove_leftovers(self) -> None:
        for path in self.program.leftovers:
            with contextlib.suppress(OSError):
                os.unlink(path)


class Supervisor:
    """Serves one parent until it leaves."""

    def __init__(self, parent: socket.socket, parent_pid: int) -> None:
        self._parent = parent
        self._lines = parent.makefile("r", encoding="utf-8")
        self._children: dict[str, Child] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(parent, selectors.EVENT_READ, self._obey)
        # A fork of the parent may hold our socket open past its end; the pidfd cannot be fooled.
        self._selector.register(os.pidfd_open(parent_pid), selectors.EVENT_READ, self._abandon)

    def run(self) -> None:
        while True:
            for key, _ in self._selector.select(self._seconds_to_next_restart()):
                key.data()
            for child in self._due_restarts():
                child.restart()
                self._watch(child)
