"""ZIP archives, entry by entry."""

import stat
from collections.abc import Iterator
from typing import IO, BinaryIO, Final
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from dermabatch.errors import ImageRejected, QuotaExceeded
from dermabatch.intake.budget import Budget
from dermabatch.intake.entries import (
    LINK,
    SPECIAL,
    UNSAFE_PATH,
    damaged_archive,
    damaged_entry,
    leads_outside,
)
from dermabatch.intake.incoming import IncomingFile, IntakeReason, Received, ReceivedFile, RefusedFile

_DIRECTORY_BYTES_PER_FILE: Final = 512
"""Room in the central directory for each file that an upload may have: 46 bytes, a path, time stamps."""

_ENCRYPTED_FLAGS: Final = 0x1 | 0x40 | 0x2000  # traditional, strong, masked headers


class _Directory:
    """The stream of a ZIP while its central directory is read.

    `zipfile` reads the directory as a whole, at the size that the archive declares, and makes an object of every
    entry: a file of a few megabytes could fill the memory. A directory that long has too many files anyway.
    """

    def __init__(self, stream: BinaryIO, budget: Budget) -> None:
        self._stream = stream
        self._max_bytes = budget.max_files * _DIRECTORY_BYTES_PER_FILE + 2**17
        self.seek, self.tell, self.seekable = stream.seek, stream.tell, stream.seekable

    def read(self, size: int = -1) -> bytes:
        if size > self._max_bytes:
            raise QuotaExceeded(
                f"Expected an archive with a directory of at most {self._max_bytes} bytes. Received: {size}."
            )
        return self._stream.read(size)


def unpack_zip(archive: IncomingFile, budget: Budget) -> Iterator[Received]:
    """Every entry of a ZIP but its folders, in the order of its directory.

    Raises:
        QuotaExceeded: more comes out than one upload may bring.
    """
    try:
        opened = ZipFile(_Directory(archive.stream, budget))
    except QuotaExceeded:
        raise
    except Exception:  # zipfile raises whatever its input makes it trip over
        budget.count_entry()
        yield damaged_archive(archive.name)
        return
    with opened:
        for entry in opened.infolist():
            budget.count_entry()
            if not entry.is_dir():
                yield _refused(entry) or _read(opened, entry, budget)


def _refused(entry: ZipInfo) -> RefusedFile | None:
    """Why this entry is not even read, judged from the archive's directory."""
    # The upper half of the attributes is the Unix mode, 0 where the archive was made elsewhere.
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return RefusedFile(entry.filename, *LINK)
    if kind not in (0, stat.S_IFREG):
        return RefusedFile(entry.filename, *SPECIAL)
    if leads_outside(entry.orig_filename):
        return RefusedFile(entry.filename, *UNSAFE_PATH)
    if entry.flag_bits & _ENCRYPTED_FLAGS:
        return RefusedFile(
            entry.filename,
            IntakeReason.ENCRYPTED,
            "this entry of the archive is encrypted: make the archive anew without a password",
        )
    if entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        # bzip2 and LZMA may ask for gigabytes of memory to unpack a few bytes.
        return RefusedFile(
            entry.filename,
            IntakeReason.UNSUPPORTED_ARCHIVE,
            "this entry is compressed in a rare way: make the archive anew with the usual method, deflate",
        )
    return None


def _read(archive: ZipFile, entry: ZipInfo, budget: Budget) -> Received:
    try:
        stream: IO[bytes]
        with archive.open(entry) as stream:
            return ReceivedFile(entry.filename, budget.read_file(stream))  # type: ignore[arg-type]
    except QuotaExceeded:
        raise
    except ImageRejected as rejected:
        return RefusedFile(entry.filename, rejected.reason, str(rejected))
    except Exception:  # as above
        return damaged_entry(entry.filename)
