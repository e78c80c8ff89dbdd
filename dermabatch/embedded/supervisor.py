"""The process that starts programs for one parent, keeps them alive, and ends them with it.

It runs as a script on the standard library alone, so that it is up in a few hundredths of a second. Standard input is a
socket whose other end the parent holds: one JSON object a line comes in, and each is answered by one line.

    {"do": "start", "program": {...}}    start it, in place of what ran under its name
    {"do": "kill", "name": "redis"}      SIGKILL, and leave it down
    {"do": "status"}                     process id, exit status and number of starts of each
    {"do": "stop"}                       end everything, the latest first, then answer

The end of the parent, known by the end of the socket and by its pidfd, ends everything at once.
"""

import contextlib
import ctypes
import dataclasses
import fcntl
import json
import os
import pwd
import selectors
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

STOP_SECONDS = 10.0
ABANDONED_STOP_SECONDS = 1.0
RESTART_SECONDS = 1.0
LOCK_SECONDS = 10.0

_TICK_SECONDS = 0.5
_POLL_SECONDS = 0.02
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


@dataclasses.dataclass(frozen=True)
class Program:
    """What to run, and how it is to end.

    `stop_signal` asks for an orderly end; the kernel sends `death_signal` if the supervisor itself is killed.
    `account` is the user to run as in place of root. A program that is `kept_alive` is started again when it ends
    by itself. `leftovers` are files that it does not remove when it ends.
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
        self._wanted = True
        self._starts = 0
        self._start()

    def _start(self) -> None:
        self._started_at = time.monotonic()
        self._starts += 1
        account = pwd.getpwnam(self.program.account) if self.program.account else None
        log = os.open(self.program.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._process = subprocess.Popen(
                self.program.argv,
                env=self.program.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
                preexec_fn=self._end_with_supervisor,  # noqa: PLW1509 - this process has one thread
            )
        finally:
            os.close(log)

    def _end_with_supervisor(self) -> None:
        # Python calls this after the change of user, which would clear the setting.
        _libc.prctl(_PR_SET_PDEATHSIG, int(self.program.death_signal))

    def revive(self) -> None:
        """Start it again if it ended by itself, at most once in RESTART_SECONDS."""
        rested = time.monotonic() - self._started_at >= RESTART_SECONDS
        if self._wanted and self.program.kept_alive and rested and self._process.poll() is not None:
            with contextlib.suppress(OSError):  # no memory for another process: try again in a while
                self._start()

    def ask_to_stop(self) -> None:
        self._wanted = False
        if self._process.poll() is None:
            self._process.send_signal(self.program.stop_signal)

    def end_by(self, deadline: float) -> None:
        """Wait for its end until `deadline` (monotonic seconds), then kill it with every process of its group."""
        while self._process.poll() is None and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        self.kill()

    def kill(self) -> None:
        self._wanted = False
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for path in self.program.leftovers:
            Path(path).unlink(missing_ok=True)

    def status(self) -> dict[str, int | None]:
        return {"pid": self._process.pid, "exit_status": self._process.poll(), "starts": self._starts}


class Supervisor:
    """Serves one parent until it leaves."""

    def __init__(self, parent: socket.socket) -> None:
        self._parent = parent
        self._requests = parent.makefile("r", encoding="utf-8")
        self._children: dict[str, Child] = {}

    def serve(self) -> None:
        """Answer until the parent says stop or ends; whatever happens, nothing is left running."""
        try:
            self._answer_until_parent_ends()
        finally:
            self._abandon()

    def _answer_until_parent_ends(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._parent, selectors.EVENT_READ)
            # A fork of the parent may hold the socket open past the parent's end; its pidfd shows the end all the same.
            parent_pidfd = os.pidfd_open(os.getppid())
            selector.register(parent_pidfd, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in selector.select(_TICK_SECONDS)}
                if parent_pidfd in ready:
                    return
                if self._parent in ready:
                    request = self._requests.readline()
                    if not request:
                        return
                    answer = json.dumps(self._answer(json.loads(request)))
                    with contextlib.suppress(
                        BrokenPipeError
                    ):  # the end of the parent shows in the next round
                        self._parent.sendall(answer.encode() + b"\n")
                for child in self._children.values():
                    child.revive()

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            match request["do"]:
                case "start":
                    self._start(Program(**request["program"]))
                case "kill":
                    self._children[request["name"]].kill()
                case "stop":
                    self._stop_in_order()
        except OSError as error:
            return {"error": str(error)}
        return {"status": {name: child.status() for name, child in self._children.items()}}

    def _start(self, program: Program) -> None:
        if program.name in self._children:
            self._children[program.name].kill()
        self._children[program.name] = Child(program)

    def _stop_in_order(self) -> None:
        for child in reversed(self._children.values()):
            child.ask_to_stop()
            child.end_by(time.monotonic() + STOP_SECONDS)
        self._children.clear()

    def _abandon(self) -> None:
        deadline = time.monotonic() + ABANDONED_STOP_SECONDS
        for child in self._children.values():
            child.ask_to_stop()
        for child in reversed(self._children.values()):
            child.end_by(deadline)


def lock(path: Path) -> int | None:
    """Hold the lock on `path` for as long as this process lives, with the parent's id written in it.

    Returns:
        None when it is ours, or the id of the living process that holds it. A holder that was killed is given
        LOCK_SECONDS for its supervisor to end what it started.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = int(os.pread(file, 20, 0) or 0)
            if (holder and Path(f"/proc/{holder}").exists()) or time.monotonic() > deadline:
                return holder
            time.sleep(_POLL_SECONDS)
        else:
            os.ftruncate(file, 0)
            os.pwrite(file, str(os.getppid()).encode(), 0)
            return None


def main(lock_path: str) -> None:
    parent = socket.socket(fileno=os.dup(sys.stdin.fileno()))
    holder = lock(Path(lock_path))
    parent.sendall(json.dumps({"held_by": holder}).encode() + b"\n")
    if holder is None:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        Supervisor(parent).serve()


if __name__ == "__main__":
    main(sys.argv[1])
