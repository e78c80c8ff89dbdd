"""How much one upload may bring. Counts what really comes out of an archive, never what its headers declare."""

from typing import BinaryIO, Final

from dermabatch.errors import ImageRejected, QuotaExceeded
from dermabatch.imaging.rejection import RejectionReason

STEP: Final = 2**20
"""Bytes that are read at a time, so that a bomb is noticed before it fills the memory."""


class Budget:
    """The limits of one upload and what it has used of them."""

    def __init__(self, *, max_files: int, max_bytes: int, max_file_bytes: int) -> None:
        self.max_files = max_files
        self.max_file_bytes = max_file_bytes
        self._max_bytes = max_bytes
        self._files = 0
        self._bytes = 0

    def count_entry(self) -> None:
        """Note one more file, link or folder. Folders count: an archive can hold millions of them for free.

        Raises:
            QuotaExceeded: the upload holds too many.
        """
        self._files += 1
        if self._files > self.max_files:
            raise QuotaExceeded(f"Expected at most {self.max_files} files in one upload. Received: more.")

    def spend(self, count: int) -> None:
        """Note that `count` bytes more have come out.

        Raises:
            QuotaExceeded: the upload is too large.
        """
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
