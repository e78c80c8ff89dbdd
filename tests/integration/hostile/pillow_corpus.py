"""The pictures that Pillow tests itself with: every format there is, and what once crashed, filled or hung a parser."""

import hashlib
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

_LOCK = Path(__file__).parents[3] / "uv.lock"
_IMAGES = "/Tests/images/"


class _Pinned(NamedTuple):
    version: str
    sha256: str


def fetch(folder: Path) -> Path:
    """Pillow's source distribution, of the version and with the checksum that `uv.lock` pins; once for all runs.

    Raises:
        subprocess.CalledProcessError: no index can be reached, or it gives something else.
    """
    pinned = _pinned()
    path = folder / f"pillow-{pinned.version}.tar.gz"
    if not (path.exists() and _sha256(path) == pinned.sha256):
        _download(pinned, folder)
    return path


def pictures(distribution: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of every file among its test images."""
    with tarfile.open(distribution) as archive:
        for entry in archive:
            if entry.isfile() and _IMAGES in entry.name:
                content = archive.extractfile(entry)
                assert content is not None
                yield entry.name.partition(_IMAGES)[2], content.read()


def _download(pinned: _Pinned, folder: Path) -> None:
    with TemporaryDirectory() as scratch:
        requirement = Path(scratch, "requirement.txt")
        requirement.write_text(f"pillow=={pinned.version} --hash=sha256:{pinned.sha256}\n")
        _run(sys.executable, "-m", "venv", f"{scratch}/venv")  # the project's own environment has no pip
        pip = f"{scratch}/venv/bin/pip"
        _run(
            pip,
            "download",
            "--no-deps",
            "--no-binary=pillow",
            "--require-hashes",
            "-r",
            requirement,
            "-d",
            folder,
        )


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=240)


def _pinned() -> _Pinned:
    packages = tomllib.loads(_LOCK.read_text())["package"]
    (pillow,) = (package for package in packages if package["name"] == "pillow")
    return _Pinned(pillow["version"], pillow["sdist"]["hash"].removeprefix("sha256:"))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
