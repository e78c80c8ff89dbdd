"""A folder of this machine, with all that is below it."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dermabatch.errors import ImageRejected
from dermabatch.intake import Metadata, parse_metadata
from dermabatch.intake.entries import LINK, SPECIAL
from dermabatch.screening.sources.base import (
    SourceFile,
    SourceUnavailable,
    changed_while_read,
    no_permission,
    read_capped,
    vanished,
)
from dermabatch.screening.tables import SourceKind

METADATA: Final = "metadata.csv"
"""At the top of the folder: which patient and lesion each file shows, as for `dermabatch submit`."""


class FolderSource:
    """Links are not followed: a folder would otherwise be able to hand in any file of the machine."""

    kind = SourceKind.FOLDER

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self.identity = f"folder:{self._folder}"

    def files(self) -> Iterator[SourceFile]:
        """As the file system has them: a sorted listing would have to be held in memory."""
        self._require()
        waiting = [self._folder]
        while waiting:
            folder = waiting.pop()
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(Path(entry.path))
                        elif (file := self._file(entry)) is not None:
                            yield file
            except PermissionError:
                yield self._closed(folder)
            except OSError as error:
                # A subfolder may go while we walk; a whole file server that goes must not look like an empty one.
                self._require()
                if folder == self._folder:
                    raise SourceUnavailable(f"The folder cannot be listed: {error.strerror}") from error
        self._require()

    def read(self, file: SourceFile, *, at_most: int) -> bytes:
        path = Path(file.key.removeprefix("file:"))
        try:
            # Opening a pipe would wait for its other end.
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(handle, "rb") as stream:
                before = os.fstat(handle)
                if not stat.S_ISREG(before.st_mode):
                    raise ImageRejected(*SPECIAL)
                data = read_capped(stream, at_most=at_most)
                after = os.fstat(handle)
        except OSError as error:
            raise self._why_not(error) from error
        if not _version(before) == _version(after) == file.version or len(data) != after.st_size:
            raise changed_while_read()
        return data

    def metadata(self) -> Metadata | None:
        """
        Raises:
            InvalidRequest: there is one, and it is none that we understand.
        """
        path = self._folder / METADATA
        if not path.is_file():
            return None
        with path.open("rb") as stream:
            return parse_metadata(stream)

    def close(self) -> None:
        """Nothing is held."""

    def _file(self, entry: "os.DirEntry[str]") -> SourceFile | None:
        path = Path(entry.path)
        if path == self._folder / METADATA:
            return None
        try:
            found = entry.stat(follow_symlinks=False)
        except OSError:
            return SourceFile(f"file:{path}", self._name(path), None, None)
        return SourceFile(f"file:{path}", self._name(path), _version(found), found.st_size)

    def _closed(self, folder: Path) -> SourceFile:
        """A folder that may not be looked into is one file that cannot be read: it must not go unnoticed."""
        if folder == self._folder:
            raise SourceUnavailable("The folder may not be listed by the program that screens it.")
        return SourceFile(f"file:{folder}", self._name(folder), None, None)

    def _why_not(self, error: OSError) -> ImageRejected:
        match error.errno:
            case errno.ELOOP:
                return ImageRejected(*LINK)
            case errno.ENXIO | errno.EISDIR:
                return ImageRejected(*SPECIAL)
            case errno.ENOENT | errno.ENOTDIR | errno.ESTALE:
                self._require()
                return vanished()
            case errno.EACCES | errno.EPERM:
                return no_permission()
        raise SourceUnavailable(f"The folder cannot be read: {error.strerror}") from error

    def _name(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix()

    def _require(self) -> None:
        if not self._folder.is_dir():
            raise SourceUnavailable("Expected a folder as source. It is not there, or not any more.")


def _version(found: os.stat_result) -> str:
    return f"{found.st_size}-{found.st_mtime_ns}-{found.st_ino}"
