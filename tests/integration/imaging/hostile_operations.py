"""Decoder operations that, for pictures with a mark, do what an attacker would after taking a decoder over.

Everything else is decoded by the real operations. The pool loads this module only where a test names it.
"""

import contextlib
import ctypes
import mmap
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from dermabatch.imaging import operations
from dermabatch.imaging.decoded import Decoded
from dermabatch.imaging.dicom import DicomImage, DicomTags

render, warm_up = operations.render, operations.warm_up
MARK: Final = b"attack:"
"""A picture that consists of this and the name of an attack."""


def attack(name: str) -> bytes:
    """The picture that makes a decoder do it."""
    return MARK + name.encode()


def decode(data: memoryview, orientation: int, size: int) -> Decoded:
    start = bytes(data[:100])
    if start.startswith(MARK):
        _ATTACKS[start.removeprefix(MARK).decode()]()
    return operations.decode(data, orientation, size)


def extract_dicom(data: bytes) -> DicomImage:
    if data == attack("environment"):
        return DicomImage(repr(dict(os.environ)).encode(), DicomTags())
    return operations.extract_dicom(data)


def _hang() -> None:
    while True:
        pass


def _take_ten_gigabytes() -> None:
    bytearray(10 * 2**30)


def _answer_nonsense() -> None:
    _answer(b"\x02\0\0\0{}")


def _answer_with_a_pickle() -> None:
    _answer(b"\x80\x04cos\nsystem\n(S'true'\ntR.")


def _answer(message: bytes) -> None:
    """Over the one descriptor that can be written to."""
    for fd in range(3, 100):
        with contextlib.suppress(OSError):
            os.write(fd, message)


def _escalate() -> None:
    os.setuid(0)


def _run_machine_code() -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)


_ATTACKS: Final[dict[str, Callable[[], object]]] = {
    "segfault": lambda: ctypes.string_at(0),
    "abort": os.abort,
    "exit": lambda: os._exit(0),
    "hang": _hang,
    "memory": _take_ten_gigabytes,
    "read": lambda: Path("/etc/passwd").read_text(),
    "write": lambda: Path("/tmp/dermabatch-attack").write_text("x"),
    "socket": lambda: socket.create_connection(("127.0.0.1", 80)),
    "fork": os.fork,
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "kill": lambda: os.kill(os.getppid(), signal.SIGKILL),
    "escalate": _escalate,
    "machine code": _run_machine_code,
    "nonsense": _answer_nonsense,
    "pickle": _answer_with_a_pickle,
}
