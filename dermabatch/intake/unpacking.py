"""From what was handed in to single files: archives are opened, one level deep, everything else is read."""

from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, Final, cast

from dermabatch.errors import ImageRejected
from dermabatch.intake.budget import ArchiveBomb, Budget, CountedStream
from dermabatch.intake.incoming import (
    Incoming,
    IncomingFile,
    IntakeReason,
    Received,
    ReceivedFile,
    RefusedFile,
)
from dermabatch.intake.signatures import ArchiveKind, archive_kind
from dermabatch.intake.tar_archives import unpack_tar
from dermabatch.intake.zip_archives import unpack_zip

_SIGNATURE_BYTES: Final = 512

_UNPACK: Final[dict[ArchiveKind, Callable[[IncomingFile, Budget], Iterator[Received]]]] = {
    ArchiveKind.ZIP: unpack_zip,
    ArchiveKind.TAR: unpack_tar,
    ArchiveKind.GZIP: unpack_tar,
}

# What macOS and Windows leave in folders on their own. Nobody handed it in, so it is neither counted nor refused.
_LITTER_NAMES: Final = {".DS_Store", "Thumbs.db", "desktop.ini"}
_APPLE_DOUBLE: Final = b"\0\x05\x16\x07"


def unpack(files: Iterable[Incoming], budget: Budget) -> Iterator[Received]:
    """Every single file that came, in order, with its content.

    At most one file is held in memory. A damaged archive gives what can be read before the damage, and then itself as
    refused; so does one that is a bomb.

    Raises:
        QuotaExceeded: more files or bytes come out than one upload may bring.
    """
    for incoming in files:
        for received in _unpack_one(incoming, budget):
            if not is_litter(received):
                yield received


def _unpack_one(incoming: Incoming, budget: Budget) -> Iterator[Received]:
    if isinstance(incoming, RefusedFile):
        budget.count_entry()
        yield incoming
        return
    kind = _kind_of(incoming.stream)
    if kind in _UNPACK:
        yield from _entries(_UNPACK[kind], incoming, budget)
        return
    budget.count_entry()
    if kind is not None:
        yield RefusedFile(
            incoming.name,
            IntakeReason.UNSUPPORTED_ARCHIVE,
            f"a {kind} archive cannot be opened: expected ZIP, tar or tar.gz",
        )
        return
    try:
        yield ReceivedFile(incoming.name, budget.read_file(incoming.stream))
    except ImageRejected as rejected:
        yield RefusedFile(incoming.name, rejected.reason, str(rejected))


def _entries(
    unpack_kind: Callable[[IncomingFile, Budget], Iterator[Received]], archive: IncomingFile, budget: Budget
) -> Iterator[Received]:
    counted = CountedStream(archive.stream)
    try:
        with budget.unpacking(counted):
            for entry in unpack_kind(IncomingFile(archive.name, cast(BinaryIO, counted)), budget):
                yield _refused_if_archive(entry)
    except ArchiveBomb:
        budget.count_entry()
        yield RefusedFile(
            archive.name,
            IntakeReason.ARCHIVE_BOMB,
            "the archive unpacks to far more than pictures would: hand its pictures in as they are",
        )


def _kind_of(stream: BinaryIO) -> ArchiveKind | None:
    kind = archive_kind(stream.read(_SIGNATURE_BYTES))
    stream.seek(0)
    return kind


def _refused_if_archive(entry: Received) -> Received:
    if isinstance(entry, ReceivedFile) and archive_kind(entry.data[:_SIGNATURE_BYTES]) is not None:
        return RefusedFile(
            entry.name,
            IntakeReason.NESTED_ARCHIVE,
            "an archive within an archive is not opened: unpack it and hand its pictures in",
        )
    return entry


def is_litter(received: Received) -> bool:
    """Whether it is something that an operating system left in a folder on its own."""
    name = received.name.rpartition("/")[2]
    if name in _LITTER_NAMES:
        return True
    return (
        isinstance(received, ReceivedFile)
        and name.startswith("._")
        and received.data.startswith(_APPLE_DOUBLE)
    )
