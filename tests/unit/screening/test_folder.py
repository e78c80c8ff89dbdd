"""A folder is listed without being held in memory, followed nowhere, and read exactly or not at all."""

import os
import tracemalloc
from itertools import count, islice

import pytest

from dermabatch.errors import ImageRejected
from dermabatch.screening.reading import portions
from dermabatch.screening.sources import FolderSource, SourceUnavailable
from dermabatch.screening.sources.base import SourceFile

LIMIT = 1_000


def names(folder):
    return {file.name for file in FolderSource(folder).files()}


def refusal(source, name):
    [file] = [file for file in source.files() if file.name == name]
    with pytest.raises(ImageRejected) as rejected:
        source.read(file, at_most=LIMIT)
    return rejected.value.reason


def test_everything_below_is_listed_once_but_for_the_csv_at_the_top(tmp_path):
    for name in ("a.jpg", "b/c.jpg", "b/d/e.jpg", "metadata.csv", "b/metadata.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"file,age\n")
    assert names(tmp_path) == {"a.jpg", "b/c.jpg", "b/d/e.jpg", "b/metadata.csv"}
    assert FolderSource(tmp_path).metadata() is not None
    assert FolderSource(tmp_path / "b" / "d").metadata() is None


def test_what_is_no_file_is_refused_for_what_it_is(tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(b"of another program")
    (folder / "link.jpg").symlink_to(tmp_path / "secret")
    (folder / "folder").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe.jpg")
    source = FolderSource(folder)
    assert refusal(source, "link.jpg") == refusal(source, "folder") == "link"
    assert refusal(source, "pipe.jpg") == "special_file"


def test_a_file_that_is_gone_changed_or_too_large_is_refused(tmp_path):
    for name in ("gone.jpg", "changed.jpg", "large.jpg"):
        (tmp_path / name).write_bytes(bytes(10 if name != "large.jpg" else LIMIT + 1))
    source = FolderSource(tmp_path)
    listed = {file.name: file for file in source.files()}
    (tmp_path / "gone.jpg").unlink()
    (tmp_path / "changed.jpg").write_bytes(bytes(11))

    def reason(name):
        with pytest.raises(ImageRejected) as rejected:
            source.read(listed[name], at_most=LIMIT)
        return rejected.value.reason

    assert [reason(name) for name in listed if name == "gone.jpg"] == ["vanished"]
    assert reason("changed.jpg") == "changed_while_read"
    assert reason("large.jpg") == "too_large"


def test_a_file_that_grows_while_it_is_read_is_not_taken_half(tmp_path, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(bytes(10))
    source = FolderSource(tmp_path)
    [file] = source.files()
    before = os.fstat

    def grow_then_look(handle):
        found = before(handle)
        with (tmp_path / "a.jpg").open("ab") as stream:
            stream.write(b"more")
        return found

    monkeypatch.setattr("dermabatch.screening.sources.folder.os.fstat", grow_then_look)
    with pytest.raises(ImageRejected) as rejected:
        source.read(file, at_most=LIMIT)
    assert rejected.value.reason == "changed_while_read"


def test_a_folder_that_is_not_there_is_not_an_empty_one(tmp_path):
    with pytest.raises(SourceUnavailable):
        list(FolderSource(tmp_path / "unmounted").files())


def test_a_long_listing_goes_through_in_the_memory_of_some_hundred_files():
    listing = (SourceFile(f"file:/archive/{number}.jpg", f"{number}.jpg", None, 1) for number in count())
    tracemalloc.start()
    try:
        seen = sum(len(portion) for portion in portions(islice(listing, 100_000), most=512))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert seen == 100_000
    assert most < 2**20
