"""How much one upload may bring. Counts what really comes out of an archive, never what its headers declare."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final

from dermabatch.errors import ImageRejected, QuotaExceeded
from dermabatch.imaging.rejection import RejectionReason

STEP: Final = 2**16
"""Bytes that are read at a time, so that a bomb is noticed before it fills the memory."""

MAX_RATIO: Final = 100
"""Bytes that may come out of an archive for each byte that was read of it. Pictures give 1 to 3, a bomb 1,000."""

_FREE_BYTES: Final = 8 * 2**20
"""May come out at any ratio: a long table of numbers is no bomb."""


class ArchiveBomb(QuotaExceeded):
    """Far more comes out of an archive than pictures would give."""


class CountedStream:
    """An archive's own bytes, counted as they are read."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.seek, self.tell, self.seekable = stream.seek, stream.tell, stream.seekable
        self.taken = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.taken += len(data)
        return data


class Budget:
    """The limits of one upload and what it has used of them."""

    def __init__(self, *, max_files: int, max_bytes: int, max_file_bytes: int) -> None:
        self.max_files = max_files
        self.max_file_bytes = max_file_bytes
        self._max_bytes = max_bytes
        self._files = 0
        self._bytes = 0
        self._archive: CountedStream | None = None
        self._unpacked = 0

    def count_entry(self) -> None:
        """Note one more file, link or folder. Folders count: an archive can hold millions of them for free.

        Raises:
            QuotaExceeded: the upload holds too many.
        """
        self._files += 1
        if self._files > self.max_files:
            raise QuotaExceeded(f"Expected at most {self.max_files} files in one upload. Received: more.")

    @contextmanager
    def unpacking(self, archive: CountedStream) -> Iterator[None]:
        """From here on `spend` compares what comes out with what was read of this archive."""
        self._archive, self._unpacked = archive, 0
        try:
            yield
        finally:
            self._archive = None

    def spend(self, count: int) -> None:
        """Note that `count` bytes more have come out.

        Raises:
            ArchiveBomb: too much for the archive that is being unpacked.
            QuotaExceeded: the upload is too large.
        """
        self._unpacked += count
        if self._archive and self._unpacked > _FREE_BYTES + MAX_RATIO * self._archive.taken:
            raise ArchiveBomb(f"Expected an archive that unpacks to at most {MAX_RATIO} times its size.")
        self._bytes += count
        if self._bytes > self._max_bytes:
            raise QuotaExceeded(
                f"Expected at most {self._max_bytes} bytes, unpacked, in one upload. Received: more."
            )

    def read_file(self, stream: BinaryIO, *, metered: bool = True) -> bytes:
        """The whole of one file.

        Args:
            stream: read to its end, or until it is too long.
            metered: False where a stream below this one counts already.

        Raises:
            ImageRejected: this one file is too large.
            QuotaExceeded: the upload is too large.
        """
        parts, size = [], 0
        while part := stream.read(STEP):
            size += len(part)
            if metered:
                self.spend(len(part))
            if size > self.max_file_bytes:
                raise ImageRejected(
                    RejectionReason.TOO_LARGE,
                    f"the file is too large: more than {self.max_file_bytes / 2**20:.0f} MB",
                )
            parts.append(part)
        return b"".join(parts)
