"""How the pool and its decoders talk: small messages over a socket, large bytes through memory both can see.

A message is a JSON object and, behind it, bytes. Nothing that comes from a decoder is ever unpickled.
"""

import fcntl
import json
import os
import struct
import tempfile
from typing import Any, Final

MAX_MESSAGE: Final = 64 * 1024
"""Bytes; well below the kernel's usual socket buffer of 208 KiB."""

_LENGTH: Final = struct.Struct("<I")
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def pack(header: dict[str, Any], tail: bytes = b"") -> bytes:
    """One message."""
    text = json.dumps(header).encode()
    return _LENGTH.pack(len(text)) + text + tail


def unpack(message: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and tail of a message.

    Raises:
        ValueError: it is not a message.
    """
    start = _LENGTH.size
    if len(message) < start:
        raise ValueError(f"expected a message, received {len(message)} bytes")
    length = int.from_bytes(message[:start], "little")
    header = json.loads(message[start : start + length])
    if not isinstance(header, dict):
        raise ValueError(f"expected a JSON object, received {type(header).__name__}")
    return header, message[start + length :]


def shared_memory(size: int) -> tuple[int, bool]:
    """Nameless memory of `size` bytes for two processes; pages that nobody writes cost nothing.

    Returns:
        Its file descriptor, and whether it is sealed: a decoder that cut unsealed memory would kill the
        pool's process at its next read. Without memfd an unlinked temporary file takes its place.
    """
    try:
        fd = os.memfd_create("dermabatch-decoder", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except OSError:
        with tempfile.TemporaryFile() as file:
            file.truncate(size)
            return os.dup(file.fileno()), False
    os.truncate(fd, size)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    return fd, True
