"""Folders that are whole or not there."""

import shutil
from collections.abc import Mapping
from pathlib import Path


def replace_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Put these files, by relative name, in place of what `folder` held; it is whole or not there."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for file, content in files.items():
        path = partial / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    former = folder.with_name(f".{folder.name}.former")
    shutil.rmtree(former, ignore_errors=True)
    if folder.exists():
        folder.rename(former)  # not removed yet: at no moment is there neither the old one nor the new one
    partial.rename(folder)
    shutil.rmtree(former, ignore_errors=True)
