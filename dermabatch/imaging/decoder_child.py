"""What runs in a confined decoder: it takes jobs, answers each in order, and never learns anything else."""

import contextlib
import dataclasses
import mmap
import os
import socket
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import cv2

from dermabatch.errors import ImageRejected
from dermabatch.imaging.confinement import confine
from dermabatch.imaging.decoder_wire import MAX_MESSAGE, pack, unpack
from dermabatch.imaging.rejection import RejectionReason

_STDERR: Final = 2
_PIPE_BYTES: Final = 64 * 1024


def run_decoder(
    connection: socket.socket, memory_fd: int, operations: ModuleType, memory_bytes: int, parent: int
) -> None:
    """Confine this process, say so, and serve jobs until the pool hangs up.

    An answer goes out after each job: when a decoder dies, the first job without an answer is the one it held.
    """
    memory = mmap.mmap(memory_fd, 0)
    complaints = CodecComplaints()
    _close_all_but(connection.fileno(), complaints.fd)
    missing = confine(memory_bytes, parent)
    connection.send(pack({"missing": missing}))
    with memoryview(memory) as view:
        while message := connection.recv(MAX_MESSAGE):
            for job in unpack(message)[0]["jobs"]:
                try:
                    connection.send(_answer(job, view, operations, complaints))
                except Exception as bug:
                    connection.send(pack({"last_words": repr(bug)[:500]}))
                    raise


class CodecComplaints:
    """What the codecs say on standard error: their only way to tell that they filled a hole in a picture."""

    def __init__(self) -> None:
        self.fd, writing = os.pipe2(os.O_NONBLOCK)
        os.dup2(writing, _STDERR)
        os.close(writing)

    def heard(self) -> str:
        """What was said since the last call, or its beginning."""
        try:
            return os.read(self.fd, _PIPE_BYTES).decode("utf-8", "replace").strip()[:200]
        except BlockingIOError:
            return ""


def _answer(
    job: dict[str, Any], memory: memoryview, operations: ModuleType, complaints: CodecComplaints
) -> bytes:
    data = memory[job["at"] : job["at"] + job["length"]]
    room = memory[job["result_at"] : job["result_at"] + job["result_room"]]
    complaints.heard()  # of the job before, which may have ended on them
    try:
        answer = _WORK[job["do"]](operations, data, room, **job["arguments"])
        if job["do"] != "extract_dicom" and (damage := complaints.heard()):
            raise ImageRejected(
                RejectionReason.CORRUPT, f"the picture's data are damaged ({damage}): copy or export it again"
            )
    except ImageRejected as rejection:
        return pack({"rejected": rejection.reason, "message": str(rejection)[:500]})
    except (cv2.error, MemoryError) as error:
        message = f"the picture cannot be decoded within the memory of a decoder ({type(error).__name__})"
        return pack({"rejected": RejectionReason.UNDECODABLE, "message": message})
    return answer


def _decode(operations: ModuleType, data: memoryview, room: memoryview, **arguments: int) -> bytes:
    decoded = operations.decode(data, **arguments)
    room[:] = decoded.pixels.data.cast("B")
    header = {
        "width": decoded.width,
        "height": decoded.height,
        "quality": dataclasses.asdict(decoded.quality),
    }
    return pack(header, decoded.thumbnail)


def _render(operations: ModuleType, data: memoryview, room: memoryview, **arguments: int) -> bytes:
    return _with_result({}, operations.render(data, **arguments), room)


def _extract_dicom(operations: ModuleType, data: memoryview, room: memoryview) -> bytes:
    image = operations.extract_dicom(bytes(data))
    return _with_result(dataclasses.asdict(image.tags), image.data, room)


def _with_result(header: dict[str, Any], result: bytes, room: memoryview) -> bytes:
    if len(result) > len(room):
        raise ImageRejected(
            RejectionReason.TOO_LARGE, f"the picture is too large: {len(result) / 2**20:.0f} MB when unpacked"
        )
    room[: len(result)] = result
    return pack({**header, "length": len(result)})


_WORK: Final = {"decode": _decode, "render": _render, "extract_dicom": _extract_dicom}


def _close_all_but(*kept: int) -> None:
    for fd in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        if fd > _STDERR and fd not in kept:
            with contextlib.suppress(OSError):  # the one that listed the others is closed already
                os.close(fd)
