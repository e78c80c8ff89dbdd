"""From what was handed in to single files: archives are opened, one level deep, everything else is read."""

from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, Final

from dermabatch.errors import ImageRejected
from dermabatch.intake.budget import Budget
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
    refused.

    Raises:
        QuotaExceeded: more files or bytes come out than one upload may bring.
    """
    for incoming in files:
        for received in _unpack_one(incoming, budget):
            if not _is_litter(received):
                yield received


def _unpack_one(incoming: Incoming, budget: Budget) -> Iterator[Received]:
    if isinstance(incoming, RefusedFile):
        budget.count_entry()
        yield incoming
        return
    kind = _kind_of(incoming.stream)
    if kind in _UNPACK:
        for entry in _UNPACK[kind](incoming, budget):
            yield _refused_if_archive(entry)
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


def _is_litter(received: Received) -> bool:
    name = received.name.rpartition("/")[2]
    if name in _LITTER_NAMES:
        return True
    return (
        isinstance(received, ReceivedFile)
        and name.startswith("._")
        and received.data.startswith(_APPLE_DOUBLE)
    )
