"""Untrusted pictures are decoded here, in processes that can do nothing else.

`DecoderPool` forks its decoders from a small program without frameworks or secrets (`decoder_parent`). Each
confines itself (`confinement`) before it sees a byte, and a picture that kills one costs no other anything.
"""

import logging
import math
import queue
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

from dermabatch.errors import DecoderDied, ImageRejected
from dermabatch.imaging.decoded import Decoded
from dermabatch.imaging.decoder import Decoder, Job, Outcome, Result
from dermabatch.imaging.dicom import DicomImage, DicomTags
from dermabatch.imaging.forkserver import Forkserver
from dermabatch.imaging.limits import MAX_BYTES, check_bytes
from dermabatch.imaging.quality import Quality

_MAX_BATCH: Final = 16
"""Pictures that a decoder gets at once: enough that it seldom waits for the pool, few enough to share out."""

_logger = logging.getLogger(__name__)


class SandboxLevel(StrEnum):
    """How well the decoders are confined."""

    FULL = "full"
    REDUCED = "reduced"  # a protection is missing on this system; the log names it


class DecoderPool:
    """Decodes pictures in sandboxed processes; thread-safe; a context manager.

    It belongs to the process that made it: a fork of that process must not use it.

    Args:
        processes: decoders that work at the same time.
        wall_seconds: time that one picture may take.
        memory_bytes: memory that a decoder may take beyond what it holds when idle.
        operations: name of the module whose functions run inside the decoders.

    Attributes:
        sandbox_level: what this system grants.

    Raises:
        ServiceUnavailable: no decoder can be started; also of every method.
    """

    def __init__(
        self,
        processes: int,
        *,
        wall_seconds: float = 5.0,
        memory_bytes: int = 512 * 2**20,
        operations: str = "dermabatch.imaging.operations",
    ) -> None:
        self._processes = processes
        self._forkserver = Forkserver(operations, memory_bytes)
        self._idle: queue.SimpleQueue[Decoder] = queue.SimpleQueue()
        # As many threads as decoders, so that a thread always finds an idle one.
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="decoder")
        missing: tuple[str, ...] = ()
        try:
            for _ in range(processes):
                decoder = Decoder(self._forkserver, 2 * MAX_BYTES, wall_seconds)
                missing = decoder.missing
                self._idle.put(decoder)
        except BaseException:
            self.close()
            raise
        self.sandbox_level = SandboxLevel.REDUCED if missing else SandboxLevel.FULL
        if missing:
            _logger.warning("decoders run with less protection than intended, without %s", ", ".join(missing))

    def decode(
        self, images: Sequence[tuple[bytes, int]], size: int
    ) -> list[Decoded | ImageRejected | DecoderDied]:
        """Decode, preprocess and measure pictures, spread over all decoders.

        Args:
            images: stripped JPEG or PNG, at most `limits.MAX_BYTES`, each with its EXIF orientation, 1 to 8.
            size: edge of the square that the network takes, in pixels.

        Returns:
            One outcome for each picture, in the order they came.
        """
        jobs = [_decode_job(data, orientation, size) for data, orientation in images]
        running = [self._threads.submit(self._run, batch) for batch in _batches(jobs, self._processes)]
        return [outcome for batch in running for outcome in batch.result()]

    def render(self, data: bytes, orientation: int, longest_edge: int) -> bytes:
        """A JPEG for the browser, encoded anew, its longest edge at most `longest_edge` pixels.

        Raises:
            ImageRejected: it cannot be decoded.
            DecoderDied: it stopped the decoder.
        """
        arguments = {"orientation": orientation, "longest_edge": longest_edge}
        return self._one(Job("render", data, MAX_BYTES, _read_bytes, arguments))

    def extract_dicom(self, data: bytes) -> DicomImage:
        """The single frame and the tags of a Dermoscopic or VL Photographic DICOM object.

        Raises:
            ImageRejected: it is another kind of object, or damaged.
            DecoderDied: it stopped the reader.
        """
        return self._one(Job("extract_dicom", data, MAX_BYTES, _read_dicom))

    def close(self) -> None:
        """Finish what is running and end all processes; harmless when repeated."""
        self._threads.shutdown(wait=True)
        while not self._idle.empty():
            self._idle.get().close()
        self._forkserver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _one(self, job: Job[Result]) -> Result:
        check_bytes(len(job.data))
        (outcome,) = self._threads.submit(self._run, [job]).result()
        if isinstance(outcome, ImageRejected | DecoderDied):
            raise outcome
        return outcome

    def _run(self, jobs: Sequence[Job[Result]]) -> list[Outcome[Result]]:
        decoder = self._idle.get()
        try:
            return decoder.run(jobs)
        finally:
            self._idle.put(decoder)


def _batches(jobs: Sequence[Job[Result]], processes: int) -> Iterator[Sequence[Job[Result]]]:
    """Shares of about equal size in order, each with at most twice `MAX_BYTES` of data and results."""
    most = min(_MAX_BATCH, math.ceil(len(jobs) / processes))
    batch: list[Job[Result]] = []
    held = 0
    for job in jobs:
        if batch and (len(batch) == most or held + job.memory > 2 * MAX_BYTES):
            yield batch
            batch, held = [], 0
        batch.append(job)
        held += job.memory
    if batch:
        yield batch


def _decode_job(data: bytes, orientation: int, size: int) -> Job[Decoded]:
    def read(header: dict[str, Any], tail: bytes, room: memoryview) -> Decoded:
        return Decoded(
            # A copy: the decoder could still change what lies in the shared memory.
            pixels=np.frombuffer(room, np.uint8).reshape(size, size, 3).copy(),
            width=int(header["width"]),
            height=int(header["height"]),
            quality=Quality.from_header(header["quality"]),
            thumbnail=tail,
        )

    return Job("decode", data, size * size * 3, read, {"orientation": orientation, "size": size})


def _read_bytes(header: dict[str, Any], tail: bytes, room: memoryview) -> bytes:
    return bytes(room[: int(header["length"])])


def _read_dicom(header: dict[str, Any], tail: bytes, room: memoryview) -> DicomImage:
    return DicomImage(_read_bytes(header, tail, room), DicomTags.from_header(header))
