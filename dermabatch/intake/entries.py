"""What ZIP and tar entries have in common: the paths they may have, and how they are refused."""

from typing import Final

from dermabatch.intake.incoming import IntakeReason, RefusedFile

LINK: Final = (IntakeReason.LINK, "a link holds no picture: hand in the file that it points to")
SPECIAL: Final = (IntakeReason.SPECIAL_FILE, "a device or pipe holds no picture")
UNSAFE_PATH: Final = (
    IntakeReason.UNSAFE_PATH,
    "the path of this archive entry leads out of the archive: make the archive anew from a plain folder",
)


def leads_outside(path: str) -> bool:
    """Whether an entry's path is absolute or climbs, on any operating system. Nothing is ever written by it."""
    parts = path.replace("\\", "/").split("/")
    has_drive = len(parts[0]) == 2 and parts[0][1] == ":"
    return path[:1] in ("/", "\\") or has_drive or ".." in parts


def damaged_archive(name: str) -> RefusedFile:
    """The row of an archive that cannot be read from here on."""
    return RefusedFile(
        name,
        IntakeReason.DAMAGED_ARCHIVE,
        "the archive is damaged or cut off: what could be read before the damage was taken in, the rest is missing",
    )


def damaged_entry(name: str) -> RefusedFile:
    """The row of one entry that cannot be read."""
    return RefusedFile(
        name, IntakeReason.DAMAGED_ENTRY, "this entry of the archive is damaged: make the archive anew"
    )
