"""Tar archives, plain or in gzip, entry by entry in one pass."""

import gzip
import tarfile
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final, TypeVar, cast

from dermabatch.errors import ImageRejected, QuotaExceeded
from dermabatch.intake.budget import STEP, Budget
from dermabatch.intake.entries import (
    LINK,
    SPECIAL,
    UNSAFE_PATH,
    damaged_archive,
    damaged_entry,
    leads_outside,
)
from dermabatch.intake.incoming import IncomingFile, Received, ReceivedFile, RefusedFile
from dermabatch.intake.signatures import ArchiveKind, archive_kind

Answer = TypeVar("Answer")

_HEADER_BYTES: Final = 2**17
"""Most that may lie between the contents of two entries: long names, extended attributes."""


class _Tape:
    """What `tarfile` reads from: forward only, counted, and with a limit to what it reads at once.

    `tarfile` believes the sizes that headers declare: it would read an extended header of gigabytes into memory, and
    follow a negative size back to where it has been.
    """

    def __init__(self, stream: BinaryIO, budget: Budget) -> None:
        self._stream = stream
        self._budget = budget
        self._position = 0
        self.allowance = 0
        """Bytes that may be read until it is raised again."""
        self.last = b""
        """What the last read gave."""

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> None:
        if position < self._position:
            raise tarfile.ReadError("an entry leads back")
        while self._position < position:
            if not self._take(min(position - self._position, STEP)):
                raise tarfile.ReadError("an entry is cut off")

    def read(self, size: int) -> bytes:
        if size > self.allowance:
            raise tarfile.ReadError("a header is too long")
        self.allowance -= size
        self.last = self._take(size)
        return self.last

    def _take(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._budget.spend(len(data))
        self._position += len(data)
        return data


def unpack_tar(archive: IncomingFile, budget: Budget) -> Iterator[Received]:
    """Every entry of a tar but its folders, in order.

    Raises:
        QuotaExceeded: more comes out than one upload may bring.
    """
    tape = _Tape(_plain(archive.stream), budget)
    opened = _ask(tape, lambda: tarfile.TarFile(fileobj=cast(BinaryIO, tape)))
    while opened is not None and (entry := _ask(tape, opened.next)) is not None:
        budget.count_entry()
        if not entry.isdir():
            yield _refused(entry) or _read(opened, entry, tape, budget)
    # tarfile takes a broken header for the end. The true end is a block of zeros.
    if not tape.last or any(tape.last):
        budget.count_entry()
        yield damaged_archive(archive.name)


def _ask(tape: _Tape, question: Callable[[], Answer | None]) -> Answer | None:
    """What tarfile says; None at the end of the archive, and where it is damaged: `tape.last` is empty then."""
    tape.allowance = _HEADER_BYTES
    try:
        return question()
    except QuotaExceeded:
        raise
    except Exception:  # tarfile, gzip and zlib raise whatever their input makes them trip over
        tape.last = b""
        return None


def _plain(stream: BinaryIO) -> BinaryIO:
    kind = archive_kind(stream.read(2))
    stream.seek(0)
    return cast(BinaryIO, gzip.GzipFile(fileobj=stream)) if kind is ArchiveKind.GZIP else stream


def _refused(entry: tarfile.TarInfo) -> RefusedFile | None:
    """Why this entry is not even read, judged from its header."""
    if entry.issym() or entry.islnk():
        return RefusedFile(entry.name, *LINK)
    if not entry.isreg() or entry.issparse():
        return RefusedFile(entry.name, *SPECIAL)
    if leads_outside(entry.name):
        return RefusedFile(entry.name, *UNSAFE_PATH)
    return None


def _read(archive: tarfile.TarFile, entry: tarfile.TarInfo, tape: _Tape, budget: Budget) -> Received:
    tape.allowance = budget.max_file_bytes + STEP
    try:
        stream = archive.extractfile(entry)
        # The tape counts what comes out, headers and refused entries included.
        return ReceivedFile(entry.name, budget.read_file(cast(BinaryIO, stream), metered=False))
    except QuotaExceeded:
        raise
    except ImageRejected as rejected:
        return RefusedFile(entry.name, rejected.reason, str(rejected))
    except Exception:  # as above
        return damaged_entry(entry.name)
