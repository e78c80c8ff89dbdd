"""What every source can do, and how it fails."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, Protocol

from dermabatch.errors import ImageRejected, ServiceUnavailable
from dermabatch.imaging.rejection import RejectionReason
from dermabatch.intake import IntakeReason, Metadata
from dermabatch.screening.tables import SourceKind


class SourceUnavailable(ServiceUnavailable):
    """The source of a screening is gone, does not answer, or refuses our credentials. What was taken in stays."""

    code = "source_unavailable"


NOT_READ: Final = (IntakeReason.UNREADABLE_FILE, IntakeReason.VANISHED, IntakeReason.CHANGED_WHILE_READ)
"""Why a file is unreadable rather than refused: the next screening tries again."""


def no_permission() -> ImageRejected:
    """What a source says of a file that it may not read."""
    return ImageRejected(IntakeReason.UNREADABLE_FILE, "it may not be read by the program that screens")


def vanished() -> ImageRejected:
    """What a source says of a file that it listed and does not find."""
    return ImageRejected(IntakeReason.VANISHED, "it was there when the source was listed, and is gone")


def too_large(at_most: int) -> ImageRejected:
    """What a source says of a file with more bytes than one file may have."""
    return ImageRejected(
        RejectionReason.TOO_LARGE, f"the file is too large: more than {at_most / 2**20:.0f} MB"
    )


def changed_while_read() -> ImageRejected:
    """What a source says of a file that was not the same at the end as at the beginning."""
    return ImageRejected(
        IntakeReason.CHANGED_WHILE_READ, "it was written to while it was read; the next screening tries again"
    )


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One entry of a listing.

    Attributes:
        key: where it lies, in words that no other file of any source has.
        name: as people of the department may read it; below the source.
        version: changes whenever the content does; None where the source cannot say.
        size: in bytes; None where the source cannot say.
    """

    key: str
    name: str
    version: str | None
    size: int | None


class Source(Protocol):
    """Lists and reads; changes nothing. `read` is called from several threads."""

    kind: SourceKind
    identity: str
    """Equal for two that list the same files."""

    def files(self) -> Iterator[SourceFile]:
        """Everything there is, in any order, fetched as it is asked for.

        Raises:
            SourceUnavailable: it is gone, or ends before its end.
        """

    def read(self, file: SourceFile, *, at_most: int) -> bytes:
        """The whole content of one file.

        Raises:
            ImageRejected: this one file cannot be read; `NOT_READ` has the reasons for which another try is worth it.
            SourceUnavailable: nothing can.
        """

    def metadata(self) -> Metadata | None:
        """The CSV that lies beside the images, if there is one."""

    def close(self) -> None: ...


_STEP: Final = 2**20


def read_capped(stream: BinaryIO, *, at_most: int) -> bytes:
    """Everything, unless it is too much.

    Raises:
        ImageRejected: more than `at_most` bytes; no more than these are held.
    """
    parts, size = [], 0
    while part := stream.read(min(_STEP, at_most + 1 - size)):
        size += len(part)
        if size > at_most:
            raise too_large(at_most)
        parts.append(part)
    return b"".join(parts)
