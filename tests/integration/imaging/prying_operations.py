"""Decoder operations that, instead of reading a DICOM object, try to get out of the sandbox and say how far they came.

The object handed in is a JSON text, `Targets`; the answer is one too, with a line for each attempt.
"""

import contextlib
import ctypes
import json
import mmap
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dermabatch.imaging import operations
from dermabatch.imaging.dicom import DicomImage, DicomTags

decode, render, warm_up = operations.decode, operations.render, operations.warm_up

SUCCEEDED = "succeeded"
_MARKER = b"memory of the parent of all decoders"
_LIBC = ctypes.CDLL(None, use_errno=True)
_HIGHEST_SYSCALL = 600
_X32 = 0x40000000
_NEVER_RETURN = {
    *(15, 60, 231),  # rt_sigreturn, exit, exit_group: allowed, as a decoder must be able to end
    *(335, 336),  # uretprobe, uprobe: kernels let them through every filter, and kill whoever calls the first
}
"""On x86-64."""


@dataclass(frozen=True)
class Targets:
    """What a test puts within reach of an unconfined process.

    Attributes:
        port: a listener on this machine.
        unix_socket: another one, as PostgreSQL and Redis may have.
        file: readable by everybody.
        folder: writable by everybody.
        pool: process id of the program that holds the pool.
    """

    port: int
    unix_socket: str
    file: str
    folder: str
    pool: int


def extract_dicom(data: bytes) -> DicomImage:
    targets = Targets(**json.loads(data))
    answer = {name: _outcome(attempt, targets) for name, attempt in _ATTEMPTS.items()}
    report = {"attempts": answer, "environment": dict(os.environ), "syscalls": _reached()}
    return DicomImage(json.dumps(report).encode(), DicomTags())


def _outcome(attempt: Callable[[Targets], object], targets: Targets) -> str:
    try:
        attempt(targets)
    except (OSError, RuntimeError) as refusal:
        return type(refusal).__name__
    return SUCCEEDED


def _connect(targets: Targets) -> None:
    socket.create_connection(("127.0.0.1", targets.port), timeout=5).close()


def _connect_to_unix_socket(targets: Targets) -> None:
    with socket.socket(socket.AF_UNIX) as end:
        end.connect(targets.unix_socket)


def _send_datagram(targets: Targets) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.sendto(b"secret", ("127.0.0.1", targets.port))


def _write_file(targets: Targets) -> None:
    Path(targets.folder, "written").write_text("x")


def _fork(_: Targets) -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def _fork_and_exec(_: Targets) -> None:
    os.posix_spawn("/bin/true", ["true"], {})


def _exec(_: Targets) -> None:
    # A program that does not exist: whoever may call exec at all is told so.
    with contextlib.suppress(FileNotFoundError):
        os.execv("/no/such/program", ["true"])


def _start_thread(_: Targets) -> None:
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()


def _read_memory_of_parent(_: Targets) -> None:
    """It was forked from there: the same object lies at the same address."""
    place = id(_MARKER) + bytes.__basicsize__ - 1
    found = ctypes.create_string_buffer(len(_MARKER))
    vector = (ctypes.c_void_p * 2)(ctypes.addressof(found), len(_MARKER))
    theirs = (ctypes.c_void_p * 2)(place, len(_MARKER))
    if _LIBC.process_vm_readv(os.getppid(), vector, 1, theirs, 1, 0) != len(_MARKER):
        raise OSError(ctypes.get_errno(), "process_vm_readv")
    assert found.raw == _MARKER


def _trace_parent(_: Targets) -> None:
    seize, detach = 0x4206, 17
    if _LIBC.ptrace(seize, os.getppid(), None, None) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")
    _LIBC.ptrace(detach, os.getppid(), None, None)


def _make_executable_memory(_: Targets) -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


def _make_memory_executable(_: Targets) -> None:
    with mmap.mmap(-1, 4096) as memory:
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        if _LIBC.mprotect(ctypes.c_void_p(address), 4096, mmap.PROT_READ | mmap.PROT_EXEC) != 0:
            raise OSError(ctypes.get_errno(), "mprotect")


def _become_traceable(_: Targets) -> None:
    pr_set_dumpable = 4
    if _LIBC.prctl(pr_set_dumpable, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def _set_a_limit(_: Targets) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, resource.getrlimit(resource.RLIMIT_NOFILE))


_ATTEMPTS: dict[str, Callable[[Targets], object]] = {
    "connect to a port": _connect,
    "connect to a local socket": _connect_to_unix_socket,
    "send a datagram": _send_datagram,
    "listen": lambda _: socket.create_server(("127.0.0.1", 0)).close(),
    "read a file": lambda targets: Path(targets.file).read_bytes(),
    "list a folder": lambda targets: list(Path(targets.folder).iterdir()),
    "write a file": _write_file,
    "remove a file": lambda targets: Path(targets.folder, "to be removed").unlink(),
    "make a nameless file": lambda _: os.close(os.memfd_create("x")),
    "read its own environment": lambda _: Path("/proc/self/environ").read_bytes(),
    "read its own memory": lambda _: Path("/proc/self/mem").open("rb").close(),
    "read the environment of its parent": lambda _: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
    "read the environment of the pool": lambda targets: Path(f"/proc/{targets.pool}/environ").read_bytes(),
    "find what the pool shares with other decoders": lambda targets: list(
        Path(f"/proc/{targets.pool}/fd").iterdir()
    ),
    "read the memory of its parent": _read_memory_of_parent,
    "trace its parent": _trace_parent,
    "signal its parent": lambda _: os.kill(os.getppid(), 0),
    "signal the pool": lambda targets: os.kill(targets.pool, signal.SIGCONT),
    "fork": _fork,
    "spawn a program": _fork_and_exec,
    "become another program": _exec,
    "start a thread": _start_thread,
    "map executable memory": _make_executable_memory,
    "make memory executable": _make_memory_executable,
    "allow others to trace it": _become_traceable,
    "change its resource limits": _set_a_limit,
}


def _reached() -> list[int]:
    """Numbers of the system calls that reach the kernel; all arguments are nonsense."""
    getppid = 110
    if _errno_of(getppid) != 1:
        return [getppid]  # there is no filter: some of what follows would do harm
    numbers = [number for number in range(_HIGHEST_SYSCALL) if number not in _NEVER_RETURN]
    return [number for number in [*numbers, *(_X32 | number for number in numbers)] if _errno_of(number) != 1]


def _errno_of(number: int) -> int:
    ctypes.set_errno(0)
    nonsense = ctypes.c_long(-1)
    zero = ctypes.c_long(0)
    _LIBC.syscall(ctypes.c_long(number), nonsense, nonsense, zero, nonsense, nonsense, nonsense)
    return ctypes.get_errno()
