"""Fills packs with judged files; while one pack is being stored the next is filled."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self

from dermabatch.imaging.inspection import Inspected
from dermabatch.intake.judging import JudgedFile
from dermabatch.intake.storing import PackStorage
from dermabatch.queue import WakeUp

_PACK_BYTES: Final = 32 * 2**20
"""A pack of large pictures is closed early: its bytes are in memory three times while it is sealed and sent."""

_MOST_ROWS: Final = 1_000
"""Rejected files take no room in a pack, but their rows wait in memory."""

_PROMPT_SECONDS: Final = 0.1


class PackWriter:
    """Hands the judged files of one upload to the storage, pack by pack.

    Memory holds one pack being filled and one being stored. Use as a context manager; leaving it waits for what is
    being stored.
    """

    def __init__(self, storage: PackStorage, *, pack_images: int, wake_up: WakeUp) -> None:
        self.packs = 0
        """Packs that are stored, after `finish`."""
        self._storage = storage
        self._pack_images = pack_images
        self._wake_up = wake_up
        self._prompt = True
        self._files: list[JudgedFile] = []
        self._pictures = 0
        self._bytes = 0
        self._background = ThreadPoolExecutor(1, thread_name_prefix="intake")
        self._storing: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._background.shutdown()

    def add(self, file: JudgedFile) -> None:
        """Take one more file, in the order in which they came.

        Raises:
            Conflict: the upload was given up meanwhile.
            ServiceUnavailable: an earlier pack could not be stored.
        """
        self._files.append(file)
        if isinstance(file.verdict, Inspected):
            self._pictures += 1
            self._bytes += len(file.verdict.stripped)
        if (
            self._pictures == self._pack_images
            or self._bytes >= _PACK_BYTES
            or len(self._files) == _MOST_ROWS
        ):
            self._close_pack()

    def finish(self) -> None:
        """Store what is left, and wait for it.

        Raises:
            Conflict, ServiceUnavailable: as `add`.
        """
        if self._files:
            self._close_pack()
        self._wait()

    def _close_pack(self) -> None:
        self._wait()
        self._storing = self._background.submit(self._store, self._files)
        self._files, self._pictures, self._bytes = [], 0, 0

    def _wait(self) -> None:
        if self._storing is not None:
            self._storing.result()
            self._storing = None

    def _store(self, files: list[JudgedFile]) -> None:
        if self._storage.store(files):
            self.packs += 1
            self._wake_workers()

    def _wake_workers(self) -> None:
        # Work may begin while the upload is still coming in. It is only a hint: where Redis is slow to take one, this
        # upload sends no more until its end, or a stopped Redis would hold up every pack.
        if self._prompt:
            started = time.monotonic()
            self._wake_up.send(1)
            self._prompt = time.monotonic() - started < _PROMPT_SECONDS
