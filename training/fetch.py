"""Fetches a published data set from a Dataverse: lists its files, downloads and checks them, unpacks the images.

The interface: https://guides.dataverse.org/en/latest/api/native-api.html and .../api/dataaccess.html.
"""

import json
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Final, Protocol

import urllib3
from urllib3.exceptions import HTTPError

from training.data import SUFFIXES, check_space
from training.download import RemoteFile, download, full_disk_named
from training.errors import DownloadFailed


@dataclass(frozen=True, slots=True)
class Publication:
    """A version of a data set, and which of its files make it.

    Attributes:
        files: name without suffix in the publication, to the name here.
    """

    doi: str
    version: str
    files: Mapping[str, str]
    terms: str


HARVARD: Final = "https://dataverse.harvard.edu"
PUBLICATIONS: Final[Mapping[str, Publication]] = {
    "ham10000": Publication(
        doi="doi:10.7910/DVN/DBW86T",
        version="4.0",
        files={
            "HAM10000_metadata": "HAM10000_metadata.csv",
            "HAM10000_images_part_1": "HAM10000_images_part_1.zip",
            "HAM10000_images_part_2": "HAM10000_images_part_2.zip",
        },
        terms="HAM10000, Tschandl, Rosendahl & Kittler 2018, doi:10.7910/DVN/DBW86T: CC BY-NC 4.0, no commercial use.",
    )
}


class FetchWatcher(Protocol):
    """Hears how far the files are; the command line draws bars from it."""

    def received(self, name: str, done: int, size: int | None) -> None:
        """`done` of `size` bytes of a file have come."""

    def unpacked(self, name: str, done: int, size: int) -> None:
        """`done` of `size` bytes of pictures in an archive are unpacked."""


def fetch(
    publication: Publication,
    to: Path,
    http: urllib3.PoolManager,
    watcher: FetchWatcher,
    server: str = HARVARD,
) -> None:
    """Bring `publication` into the folder `to`; what is there already is not fetched again.

    Archives become folders of their own name and are removed then.

    Raises:
        DownloadFailed: see `training.download`; or the server lists other files than are expected.
        TooLittleSpace: the disk of `to` cannot hold the files.
    """
    missing = [file for file in list_files(publication, http, server) if not _is_there(file, to)]
    to.mkdir(parents=True, exist_ok=True)
    check_space(sum(_space_for(file) for file in missing), to)
    for file in missing:
        path = to / file.name
        download(file, path, http, partial(_tell_received, watcher, file))
        if path.suffix == ".zip":
            unpack_images(path, path.with_suffix(""), watcher)
            path.unlink()


def _tell_received(watcher: FetchWatcher, file: RemoteFile, done: int) -> None:
    watcher.received(file.name, done, file.size)


def _is_there(file: RemoteFile, to: Path) -> bool:
    return file.name.endswith(".zip") and (to / file.name).with_suffix("").is_dir()


def _space_for(file: RemoteFile) -> int:
    # JPEG does not shrink in an archive: unpacked it takes as much again.
    return (file.size or 0) * (2 if file.name.endswith(".zip") else 1)


def list_files(publication: Publication, http: urllib3.PoolManager, server: str) -> list[RemoteFile]:
    """The files of `publication`, with the checksums that the server gives.

    Raises:
        DownloadFailed: it gives no list, or one without an expected file.
    """
    url = (
        f"{server}/api/datasets/:persistentId/versions/{publication.version}/files"
        f"?persistentId={publication.doi}"
    )
    entries = _entries(url, http)
    by_stem = {PurePosixPath(entry["label"]).stem: entry["dataFile"] for entry in entries}
    if absent := publication.files.keys() - by_stem.keys():
        raise DownloadFailed(
            f"{url}: expected the files {', '.join(sorted(absent))}. Received: {', '.join(by_stem)}"
        )
    return [_remote_file(name, by_stem[stem], server) for stem, name in publication.files.items()]


def _entries(url: str, http: urllib3.PoolManager) -> Sequence[dict[str, Any]]:
    try:
        response = http.request("GET", url)
    except HTTPError as error:
        raise DownloadFailed(f"{url} cannot be reached: {error}") from error
    try:
        entries: Sequence[dict[str, Any]] = json.loads(response.data)["data"]
    except (ValueError, KeyError, TypeError) as error:
        raise DownloadFailed(
            f"{url}: expected a list of files in JSON. Received: HTTP {response.status} {response.reason}"
        ) from error
    return entries


def _remote_file(name: str, listed: Mapping[str, Any], server: str) -> RemoteFile:
    url = f"{server}/api/access/datafile/{listed['id']}"
    size = listed.get("filesize")
    if "originalFileFormat" in listed:
        # A table that Dataverse converted: the checksum is that of the original, `filesize` that of the conversion.
        url, size = f"{url}?format=original", listed.get("originalFileSize")
    checksum = listed["checksum"]
    return RemoteFile(name, url, size, checksum["type"].replace("-", "").lower(), checksum["value"].lower())


def unpack_images(archive: Path, to: Path, watcher: FetchWatcher) -> None:
    """Put the pictures in `archive` into the folder `to`, which is complete or not there.

    Only their names count, not the folders that the archive gives them, so that nothing lands elsewhere.

    Raises:
        DownloadFailed: it is no ZIP archive, is damaged, or has two pictures of one name.
        TooLittleSpace: the disk cannot hold the pictures.
    """
    unfinished = to.with_name(f".{to.name}.partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        with full_disk_named(unfinished), zipfile.ZipFile(archive) as opened:
            pictures = _pictures(opened, archive)
            size = sum(info.file_size for info in pictures.values())
            check_space(size, to.parent)
            unfinished.mkdir()
            done = 0
            for name, info in pictures.items():
                with opened.open(info) as source, (unfinished / name).open("wb") as target:
                    shutil.copyfileobj(source, target)
                done += info.file_size
                watcher.unpacked(archive.name, done, size)
        unfinished.rename(to)
    except zipfile.BadZipFile as error:
        raise DownloadFailed(f"{archive} is a damaged archive: {error}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _pictures(opened: zipfile.ZipFile, archive: Path) -> dict[str, zipfile.ZipInfo]:
    pictures: dict[str, zipfile.ZipInfo] = {}
    for info in opened.infolist():
        name = PurePosixPath(info.filename.replace("\\", "/")).name
        if PurePosixPath(name).suffix.lower() in SUFFIXES and not name.startswith("."):
            if name in pictures:
                raise DownloadFailed(f"{archive} has two pictures of the name {name}.")
            pictures[name] = info
    return pictures
