"""Files and folders of this machine, as the command line and the night run hand them in."""

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from dermabatch.intake.entries import LINK, SPECIAL
from dermabatch.intake.incoming import Incoming, IncomingFile, IntakeReason, RefusedFile

_UNREADABLE = (IntakeReason.UNREADABLE_FILE, "it may not be read by the program that takes it in")


def incoming_files(paths: Sequence[Path], *, leave_out: Collection[Path] = ()) -> Iterator[Incoming]:
    """Every file of these paths, folders with all that is below them, in order of name.

    Each file is open only until the next one is asked for. Links below a folder are refused rather than followed:
    a folder would otherwise be able to hand in any file of the machine.

    Args:
        paths: files and folders; those named here may be links.
        leave_out: files that are not part of the upload, such as its CSV.
    """
    skipped = {path.resolve() for path in leave_out}
    for path in paths:
        below = _walk(path) if path.is_dir() else iter([path])
        for file in below:
            if file.resolve() not in skipped:
                name = file.relative_to(path).as_posix() if file != path else path.name
                yield from _open(file, name, follow=file == path)


def _walk(folder: Path) -> Iterator[Path]:
    """What lies below a folder and is no folder that can be walked."""
    unreadable: list[Path] = []
    for parent, folders, files in os.walk(
        folder, onerror=lambda error: unreadable.append(Path(error.filename))
    ):
        folders.sort()
        # os.walk names links to folders among the folders, and does not follow them.
        links = [name for name in folders if Path(parent, name).is_symlink()]
        yield from (Path(parent, name) for name in sorted(files + links))
    yield from unreadable


def _open(path: Path, name: str, *, follow: bool) -> Iterator[Incoming]:
    if path.is_symlink() and not follow:
        yield RefusedFile(name, *LINK)
        return
    if path.is_dir():  # _walk could not look into it
        yield RefusedFile(name, *_UNREADABLE)
        return
    if path.exists() and not path.is_file():
        # Opening a pipe would wait for ever for its other end.
        yield RefusedFile(name, *SPECIAL)
        return
    try:
        stream = path.open("rb")
    except OSError:
        yield RefusedFile(name, *_UNREADABLE)
        return
    with stream:
        yield IncomingFile(name, stream)
