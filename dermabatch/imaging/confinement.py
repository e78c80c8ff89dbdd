"""How a decoder gives up everything but computing, before it sees the first byte of a stranger's."""

import ctypes
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

from dermabatch.imaging.seccomp import install_filter

_NOBODY: Final = 65534
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38


def confine(memory_bytes: int, parent: int) -> list[str]:
    """Confine this process for good. Files that it needs are open and modules loaded.

    Args:
        memory_bytes: address space that may be taken beyond what is mapped now.
        parent: process id; the decoder dies with it.

    Returns:
        The protections that this system does not grant, with the reason; empty where all hold.
    """
    # Order matters: changing the user clears the parent-death signal, and the filter forbids all the rest.
    steps: list[tuple[str, Callable[[], None]]] = [
        ("resource limits", lambda: _limit(memory_bytes)),
        ("an unprivileged user", _drop_privileges),
        ("no new privileges", lambda: _prctl(_PR_SET_NO_NEW_PRIVS, 1)),
        ("privacy from tracing", lambda: _prctl(_PR_SET_DUMPABLE, 0)),
        ("death with its parent", lambda: _die_with(parent)),
        ("a system call filter", install_filter),
    ]
    missing = []
    for name, step in steps:
        try:
            step()
        except OSError as error:
            missing.append(f"{name} ({error.strerror})")
    return missing


def _limit(memory_bytes: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    mapped = pages * resource.getpagesize()
    for kind, value in (
        (resource.RLIMIT_AS, mapped + memory_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 0),
    ):
        _, most = resource.getrlimit(kind)
        limit = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(kind, (limit, limit))


def _drop_privileges() -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)


def _die_with(parent: int) -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the signal was set
        os._exit(1)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
