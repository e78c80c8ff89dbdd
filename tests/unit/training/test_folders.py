"""Folders of artifacts: the old one or the new one, and never half of one."""

import pytest

from training.folders import replace_folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_holds_the_new_files_and_no_other(tmp_path):
    replace_folder(tmp_path / "model", {"manifest.json": b"old", "left": b"over"})

    replace_folder(tmp_path / "model", {"manifest.json": b"new", "openvino/model.bin": b"inside"})

    assert contents(tmp_path / "model") == {"manifest.json": b"new", "model.bin": b"inside"}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_breaks_off_in_the_middle_leaves_what_was_there(tmp_path):
    replace_folder(tmp_path / "model", {"manifest.json": b"old"})

    with pytest.raises(TypeError):  # the second file cannot be written, as on a disk that is full
        replace_folder(tmp_path / "model", {"manifest.json": b"new", "card.md": None})
    assert contents(tmp_path / "model") == {"manifest.json": b"old"}

    with pytest.raises(TypeError):
        replace_folder(tmp_path / "other", {"manifest.json": b"new", "card.md": None})
    assert not (tmp_path / "other").exists()
