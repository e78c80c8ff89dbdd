"""Downloads a file over HTTP so that a broken connection costs only what was under way."""

import errno
import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import urllib3
from urllib3.exceptions import HTTPError, MaxRetryError
from urllib3.util import Retry, Timeout

from training.errors import DownloadFailed, TooLittleSpace

BLOCK: Final = 2**20  # bytes
BREAKS: Final = 5
"""Connections in a row that may break without bringing anything; each is also repeated as `polite_pool` says."""

_WHOLE: Final = 200
_PART: Final = 206
_NO_SUCH_RANGE: Final = 416


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file to download.

    Attributes:
        name: of the file here.
        url: where it is.
        size: in bytes; None where the server does not say.
        algorithm: of `checksum`, as `hashlib` names it.
        checksum: hexadecimal.
    """

    name: str
    url: str
    size: int | None
    algorithm: str
    checksum: str


def polite_pool() -> urllib3.PoolManager:
    """Connections that wait and ask again when a server is busy: 1, 2, 4, 8 s, or what it asks for."""
    retry = Retry(
        total=5, backoff_factor=1, status_forcelist=(429, 500, 502, 503, 504), raise_on_status=False
    )
    return urllib3.PoolManager(retries=retry, timeout=Timeout(connect=20, read=60))


def download(file: RemoteFile, to: Path, http: urllib3.PoolManager, progress: Callable[[int], None]) -> None:
    """Bring `file` to the path `to`, which is whole and checked, or not there.

    What has come is kept beside it under `.partial`; the next call goes on there.

    Args:
        progress: called with the number of bytes that are there.

    Raises:
        DownloadFailed: no connection, another answer than the file, or other contents than the checksum says.
        TooLittleSpace: the disk is full.
    """
    if to.exists() and checksum(to, file.algorithm) == file.checksum:
        progress(to.stat().st_size)
        return
    partial = to.with_name(f"{to.name}.partial")
    with full_disk_named(partial):
        _complete(file, partial, http, progress)
    received = checksum(partial, file.algorithm)
    if received != file.checksum:
        partial.unlink()  # going on with wrong bytes would never end well
        raise DownloadFailed(
            f"{file.url}: expected the {file.algorithm} checksum {file.checksum}. Received: {received}. "
            f"Nothing of it was kept; try again."
        )
    partial.rename(to)


def checksum(path: Path, algorithm: str) -> str:
    """Hexadecimal digest of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def _complete(
    file: RemoteFile, partial: Path, http: urllib3.PoolManager, progress: Callable[[int], None]
) -> None:
    breaks = 0
    while True:
        before = _size(partial)
        try:
            return _receive_rest(file, partial, http, progress)
        except MaxRetryError as error:
            raise DownloadFailed(f"{file.url} cannot be reached: {error.reason}") from error
        except HTTPError as error:  # the connection broke in the middle
            breaks = breaks + 1 if _size(partial) <= before else 0
            if breaks == BREAKS:
                raise DownloadFailed(
                    f"{file.url}: the connection broke {BREAKS} times in a row at {before:,} bytes ({error}). "
                    f"What has come is kept; the next call goes on there."
                ) from error


def _receive_rest(
    file: RemoteFile, partial: Path, http: urllib3.PoolManager, progress: Callable[[int], None]
) -> None:
    start = _size(partial)
    if start and start == file.size:
        return
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with closing(http.request("GET", file.url, headers=headers, preload_content=False)) as response:
        if response.status == _NO_SUCH_RANGE:
            return  # there is no more; the checksum says whether that was all
        if response.status not in {_WHOLE, _PART} or (
            response.status == _PART and _first_byte(response) != start
        ):
            raise DownloadFailed(
                f"{file.url}: expected the file from byte {start:,} on. "
                f"Received: HTTP {response.status} {response.reason}"
            )
        # A server without ranges sends all of it again.
        with partial.open("ab" if response.status == _PART else "wb") as stream:
            for block in response.stream(BLOCK, decode_content=False):
                stream.write(block)
                progress(stream.tell())


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _first_byte(response: urllib3.BaseHTTPResponse) -> int | None:
    """Of `Content-Range: bytes 500-999/1000` the 500."""
    first = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(first) if first.isdecimal() else None


@contextmanager
def full_disk_named(path: Path) -> Iterator[None]:
    """
    Raises:
        TooLittleSpace: the disk of `path` became full meanwhile.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise TooLittleSpace(f"The disk of {path} is full.") from error
