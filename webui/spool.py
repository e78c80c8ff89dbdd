"""Uploads go to disk as they arrive: all files of a request into one temporary file.

Werkzeug would keep files under 500 kB in memory and open a temporary file for each larger one. 20,000 images would
fill the memory or run out of file descriptors.
"""

import io
import os
import tempfile
from typing import IO, Any, Final

from flask import Request, request

from dermabatch.settings import Settings

_FORM_OVERHEAD: Final = 2**20
_OTHER_PARTS: Final = 16


def admit_upload(settings: Settings) -> None:
    """Let the body of the present request be as large as an upload may be; before anything has read of it."""
    request.max_content_length = settings.max_upload_bytes + _FORM_OVERHEAD
    request.max_form_parts = settings.max_upload_files + _OTHER_PARTS


class SpooledPart(io.RawIOBase):
    """One uploaded file: a window on the spool. Written once from front to end, then read."""

    def __init__(self, spool: IO[bytes]) -> None:
        self._spool = spool
        self._start = spool.seek(0, os.SEEK_END)
        self._length = 0
        self._position = 0

    def write(self, data: Any) -> int:
        """Append; only the newest part of a spool is ever written."""
        written = self._spool.write(data)
        self._length += written
        return written

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer from the present position, up to the end of this part."""
        wanted = min(len(buffer), self._length - self._position)
        if wanted <= 0:
            return 0
        data = os.pread(self._spool.fileno(), wanted, self._start + self._position)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move within this part; also brings what was written to disk, where `readinto` finds it."""
        self._spool.flush()
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """The present position in this part."""
        return self._position

    def readable(self) -> bool:
        """Always, once written."""
        return True

    def writable(self) -> bool:
        """Always, for the parser."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True


class SpoolingRequest(Request):
    """A request whose files lie on disk until it has been answered."""

    _spool: IO[bytes] | None = None

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        if self._spool is None:
            self._spool = tempfile.TemporaryFile(prefix="dermabatch-upload-")  # noqa: SIM115 - until close()
        return SpooledPart(self._spool)  # type: ignore[return-value]

    def close(self) -> None:
        """Delete the spool with the request."""
        super().close()
        if self._spool is not None:
            self._spool.close()
