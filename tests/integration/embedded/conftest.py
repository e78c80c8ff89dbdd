"""Folders of their own for services that a test starts, kills or breaks."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's account can reach, unlike pytest's own."""
    path = Path(mkdtemp(prefix="dermabatch-tests-"))
    yield path
    shutil.rmtree(path)
