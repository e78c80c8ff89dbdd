"""What the machine offers: server programs of the installed wheels, disk, free ports, an account in place of root."""

import importlib.util
import itertools
import platform
import random
import shutil
import socket
import stat
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

from dermabatch.errors import ConfigurationError

SMALLEST_FREE_BYTES = 512 * 2**20
POLL_SECONDS = 0.02

# PostgreSQL refuses to run as root. Every Debian and Ubuntu has this account, and nothing of worth belongs to it.
UNPRIVILEGED_ACCOUNT = "daemon"

# Below the range that Linux gives to outgoing connections (32768 on): a client that keeps calling a closed port in that
# range is in the end given that port itself, answers its own call, and keeps the server from coming back.
_PORTS = range(12_000, 22_000)


def require_linux() -> None:
    """
    Raises:
        ConfigurationError: the wheels bring servers for Linux only.
    """
    if sys.platform != "linux":
        raise ConfigurationError(
            "The embedded PostgreSQL, Redis and SeaweedFS run on Linux only. "
            f"This machine: {platform.system()} on {platform.machine()}. Use docker compose here."
        )


def require_disk(folder: Path) -> None:
    """
    Raises:
        ConfigurationError: there is too little room to start.
    """
    free = shutil.disk_usage(folder).free
    if free < SMALLEST_FREE_BYTES:
        raise ConfigurationError(
            f"The disk of {folder} is full: expected {SMALLEST_FREE_BYTES >> 20} MiB free at least, found {free >> 20}."
        )


def private_ancestor(folder: Path) -> Path | None:
    """The first folder on the way to `folder` that other users may not pass through."""
    return next((ancestor for ancestor in folder.parents if not ancestor.stat().st_mode & stat.S_IXOTH), None)


def package_folder(package: str) -> Path:
    """Where an installed package lies, found without importing it.

    Raises:
        ConfigurationError: it is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(
            f"The Python package {package} is not installed, so its server cannot start."
        )
    return Path(spec.submodule_search_locations[0])


def script(name: str) -> Path:
    """A program that a wheel put beside the Python interpreter.

    Raises:
        ConfigurationError: it is not installed.
    """
    path = Path(sysconfig.get_path("scripts")) / name
    if not path.exists():
        raise ConfigurationError(f"{path} is not installed, so its server cannot start.")
    return path


def free_port() -> int:
    """A port of the loopback interface that nothing listens on."""
    return free_ports(1)[0]


def free_ports(count: int, *, offset: int = 0) -> list[int]:
    """Different ports of the loopback interface that are free, both they and those `offset` above them."""
    shuffled = random.sample(_PORTS, len(_PORTS))
    free = (port for port in shuffled if _is_free(port) and _is_free(port + offset))
    return list(itertools.islice(free, count))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def wait_until(condition: Callable[[], bool], *, seconds: float) -> bool:
    """Whether `condition` came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def last_complaint(log_path: Path) -> str:
    """The last line of a server's log that speaks of an error, or else its last line, and where to read the rest."""
    lines = [line.strip() for line in log_path.read_text(errors="replace").splitlines() if line.strip()]
    complaints = [line for line in lines if any(word in line.lower() for word in ("fatal", "panic", "error"))]
    last = (complaints or lines or ["it said nothing"])[-1]
    return f"{last} (log: {log_path})"
