"""What can come in: files, and things that are refused before anybody looks into them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO


class IntakeReason(StrEnum):
    """Stable codes of why something that came in is not judged; those of pictures are `imaging.rejection`'s."""

    NESTED_ARCHIVE = "nested_archive"  # an archive within an archive
    ENCRYPTED = "encrypted"  # an archive entry that wants a password
    LINK = "link"  # a symbolic or hard link, in a folder or an archive
    UNSAFE_PATH = (
        "unsafe_path"  # an archive entry with an absolute path, or one that leads out of the archive
    )
    SPECIAL_FILE = "special_file"  # a device, a pipe, a socket
    DAMAGED_ARCHIVE = "damaged_archive"  # the archive cannot be read, or not from here on
    DAMAGED_ENTRY = "damaged_entry"  # one entry of an archive cannot be read
    UNSUPPORTED_ARCHIVE = "unsupported_archive"  # 7-Zip, RAR, xz and others; a rare compression within a ZIP
    ARCHIVE_BOMB = "archive_bomb"  # far more comes out of the archive than pictures would give
    UNREADABLE_FILE = "unreadable_file"  # the file or folder may not be opened
    VANISHED = "vanished"  # it was listed and is not there any more
    CHANGED_WHILE_READ = "changed_while_read"  # somebody wrote to it while it was read
    METADATA_WITHOUT_FILE = "metadata_without_file"  # a line of the CSV whose file did not come
    BAD_METADATA = "bad_metadata"  # a line of the CSV with a value that cannot be right
    AMBIGUOUS_METADATA = "ambiguous_metadata"  # two files of one name want the same line of the CSV


@dataclass(frozen=True, slots=True)
class IncomingFile:
    """A file or an archive as its sender hands it in.

    Attributes:
        name: as the sender calls it, with folders where there are any; never used as a path.
        stream: seekable, at its beginning. It is read before the next file is asked for.
    """

    name: str
    stream: BinaryIO


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """One file's whole content."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class RefusedFile:
    """Something that came and gets a row, but was not read, or could not be.

    Attributes:
        name: as the sender calls it.
        reason: stable code.
        message: for a nurse; holds no file name.
    """

    name: str
    reason: str
    message: str


Incoming = IncomingFile | RefusedFile
Received = ReceivedFile | RefusedFile
