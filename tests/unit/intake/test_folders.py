"""Folders: every file below them comes in, in order, and nothing else does."""

import os
from pathlib import Path

import pytest

from dermabatch.intake import IncomingFile, incoming_files


def came(*paths: Path, leave_out: tuple[Path, ...] = ()) -> list[tuple[str, bytes | str]]:
    """Names, each with its content or with the reason of its refusal."""
    return [
        (file.name, file.stream.read() if isinstance(file, IncomingFile) else file.reason)
        for file in incoming_files(paths, leave_out=leave_out)
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "b").mkdir()
    for name in ("b/2.jpg", "b/1.jpg", "c.jpg", "a.jpg"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def test_files_come_in_order_of_name_with_their_folders(folder: Path):
    assert came(folder) == [
        ("a.jpg", b"a.jpg"),
        ("c.jpg", b"c.jpg"),
        ("b/1.jpg", b"b/1.jpg"),
        ("b/2.jpg", b"b/2.jpg"),
    ]


def test_single_files_come_by_their_name(folder: Path):
    assert came(folder / "b" / "2.jpg", folder / "a.jpg") == [("2.jpg", b"b/2.jpg"), ("a.jpg", b"a.jpg")]


def test_links_below_a_folder_are_refused(folder: Path, tmp_path_factory: pytest.TempPathFactory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "secret.jpg").write_bytes(b"secret")
    (folder / "link.jpg").symlink_to(elsewhere / "secret.jpg")
    (folder / "b" / "linked").symlink_to(elsewhere)
    refused = dict(came(folder))
    assert refused["link.jpg"] == refused["b/linked"] == "link"
    assert "secret.jpg" not in str(refused.keys()).replace("link.jpg", "")


def test_a_link_that_a_person_names_is_followed(folder: Path):
    (folder / "link.jpg").symlink_to(folder / "a.jpg")
    assert came(folder / "link.jpg") == [("link.jpg", b"a.jpg")]


def test_a_pipe_is_refused_and_nobody_waits_for_it(folder: Path):
    os.mkfifo(folder / "pipe.jpg")
    assert dict(came(folder))["pipe.jpg"] == "special_file"


def test_a_file_that_is_gone_is_refused(folder: Path):
    assert came(folder / "gone.jpg") == [("gone.jpg", "unreadable_file")]


def test_what_is_left_out_does_not_come(folder: Path):
    assert "a.jpg" not in dict(came(folder, leave_out=(folder / "a.jpg",)))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_refused(folder: Path):
    (folder / "a.jpg").chmod(0)
    (folder / "b").chmod(0)
    refused = dict(came(folder))
    (folder / "b").chmod(0o700)
    assert refused["a.jpg"] == refused["b"] == "unreadable_file"
