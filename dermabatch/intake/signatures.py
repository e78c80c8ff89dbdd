"""Archives by their first bytes; a name can say anything."""

from enum import StrEnum
from typing import Final


class ArchiveKind(StrEnum):
    """Archives as people call them. The first three are opened."""

    ZIP = "ZIP"
    TAR = "tar"
    GZIP = "gzip"
    SEVEN_ZIP = "7-Zip"
    RAR = "RAR"
    XZ = "xz"
    BZIP2 = "bzip2"


_PREFIXES: Final = (
    (b"PK\x03\x04", ArchiveKind.ZIP),
    (b"PK\x05\x06", ArchiveKind.ZIP),  # without any entry
    (b"\x1f\x8b", ArchiveKind.GZIP),
    (b"7z\xbc\xaf\x27\x1c", ArchiveKind.SEVEN_ZIP),
    (b"Rar!\x1a\x07", ArchiveKind.RAR),
    (b"\xfd7zXZ\0", ArchiveKind.XZ),
    (b"BZh", ArchiveKind.BZIP2),
)
_TAR_MAGIC: Final = b"ustar"
_TAR_MAGIC_AT: Final = 257


def archive_kind(start: bytes) -> ArchiveKind | None:
    """Which archive begins with these bytes (512 are enough); None where it is no archive."""
    for prefix, kind in _PREFIXES:
        if start.startswith(prefix):
            return kind
    return ArchiveKind.TAR if start[_TAR_MAGIC_AT:].startswith(_TAR_MAGIC) else None
