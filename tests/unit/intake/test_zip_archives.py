"""ZIP archives: every entry becomes a file or a refusal, whatever the archive claims."""

import contextlib
import io
import random
import stat
import struct
import zipfile
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermabatch.errors import QuotaExceeded
from dermabatch.intake.budget import Budget
from dermabatch.intake.incoming import IncomingFile, Received, ReceivedFile, RefusedFile
from dermabatch.intake.unpacking import unpack

MEGABYTE = 2**20


def zipped(*entries: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in entries:
            archive.writestr(name, data, compress_type=method)
    return stream.getvalue()


def unpacked(
    data: bytes, *, max_files: int = 100, max_bytes: int = 10 * MEGABYTE, max_file_bytes: int = MEGABYTE
) -> list[Received]:
    budget = Budget(max_files=max_files, max_bytes=max_bytes, max_file_bytes=max_file_bytes)
    return list(unpack([IncomingFile("upload.zip", io.BytesIO(data))], budget))


def reasons(received: Iterable[Received]) -> dict[str, str]:
    return {file.name: file.reason for file in received if isinstance(file, RefusedFile)}


def with_mode(name: str, mode: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.create_system = 3
    entry.external_attr = mode << 16
    return entry


def test_entries_come_out_in_order_and_folders_are_no_files():
    data = zipped(("b/2.jpg", b"two"), ("a/", b""), ("a/1.jpg", b"one"))
    assert unpacked(data) == [ReceivedFile("b/2.jpg", b"two"), ReceivedFile("a/1.jpg", b"one")]


def test_an_archive_is_known_by_its_content_and_not_by_its_name():
    budget = Budget(max_files=9, max_bytes=MEGABYTE, max_file_bytes=MEGABYTE)
    named_like_a_picture = IncomingFile("a.jpg", io.BytesIO(zipped(("b.jpg", b"b"))))
    assert list(unpack([named_like_a_picture], budget)) == [ReceivedFile("b.jpg", b"b")]


def test_an_archive_without_entries_holds_nothing():
    assert unpacked(zipped()) == []


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../up.jpg",
        "a/../../up.jpg",
        "C:/up.jpg",
        "c:\\up.jpg",
        "..\\up.jpg",
        "\\\\host\\up.jpg",
    ],
)
def test_a_path_that_leads_outside_is_refused_and_its_neighbours_are_not(path: str):
    received = unpacked(zipped(("1.jpg", b"one"), (path, b"x"), ("2.jpg", b"two")))
    assert [file.name for file in received if isinstance(file, ReceivedFile)] == ["1.jpg", "2.jpg"]
    assert list(reasons(received).values()) == ["unsafe_path"]


def test_dots_within_a_name_are_harmless():
    assert unpacked(zipped(("a..b/c...jpg", b"x"))) == [ReceivedFile("a..b/c...jpg", b"x")]


def test_links_and_devices_are_refused():
    received = unpacked(
        zipped(
            (with_mode("link.jpg", stat.S_IFLNK | 0o777), b"/etc/passwd"),
            (with_mode("pipe.jpg", stat.S_IFIFO | 0o644), b""),
            (with_mode("file.jpg", stat.S_IFREG | 0o644), b"x"),
        )
    )
    assert reasons(received) == {"link.jpg": "link", "pipe.jpg": "special_file"}
    assert ReceivedFile("file.jpg", b"x") in received


def test_an_encrypted_entry_is_refused():
    data = bytearray(zipped(("secret.jpg", b"x"), ("open.jpg", b"y")))
    local, central = data.index(b"PK\x03\x04"), data.index(b"PK\x01\x02")
    data[local + 6] |= 1
    data[central + 8] |= 1
    received = unpacked(bytes(data))
    assert reasons(received) == {"secret.jpg": "encrypted"}
    assert ReceivedFile("open.jpg", b"y") in received


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compression_that_may_ask_for_any_memory_is_refused(method: int):
    assert reasons(unpacked(zipped(("a.jpg", b"x" * 99), method=method))) == {"a.jpg": "unsupported_archive"}


def test_archives_within_an_archive_are_refused_under_any_name():
    inner = zipped(("x.jpg", b"x"))
    received = unpacked(
        zipped(("inner.jpg", inner), ("inner.7z", b"7z\xbc\xaf\x27\x1c rest"), ("ok.jpg", b"ok"))
    )
    assert reasons(received) == {"inner.jpg": "nested_archive", "inner.7z": "nested_archive"}


def test_an_entry_that_was_changed_after_packing_is_refused_alone():
    data = bytearray(zipped(("a.jpg", b"one-two-three"), ("b.jpg", b"fine"), method=zipfile.ZIP_STORED))
    data[data.index(b"one-two")] ^= 1
    received = unpacked(bytes(data))
    assert reasons(received) == {"a.jpg": "damaged_entry"}
    assert ReceivedFile("b.jpg", b"fine") in received


def test_an_archive_that_was_cut_off_is_one_refused_file():
    data = zipped(("a.jpg", b"x" * 5000))
    assert reasons(unpacked(data[:-30])) == {"upload.zip": "damaged_archive"}


def test_more_bytes_than_an_upload_may_bring_end_it():
    noise = random.Random(1).randbytes(MEGABYTE)
    with pytest.raises(QuotaExceeded, match="unpacked"):
        unpacked(zipped(*((f"{number}.jpg", noise) for number in range(11)), method=zipfile.ZIP_STORED))


def test_a_bomb_is_stopped_by_what_comes_out_of_it_and_what_came_before_is_kept():
    bomb = zipped(("first.jpg", b"one"), *((f"{number}.jpg", bytes(MEGABYTE)) for number in range(20)))
    assert len(bomb) < MEGABYTE / 10
    received = unpacked(bomb)
    assert received[0] == ReceivedFile("first.jpg", b"one")
    assert reasons(received) == {"upload.zip": "archive_bomb"}
    assert len(received) < 12


def test_the_file_behind_a_bomb_is_taken():
    budget = Budget(max_files=99, max_bytes=64 * MEGABYTE, max_file_bytes=64 * MEGABYTE)
    bomb = IncomingFile("a.zip", io.BytesIO(zipped(("a.jpg", bytes(20 * MEGABYTE)))))
    files = list(unpack([bomb, IncomingFile("b.jpg", io.BytesIO(bytes(20 * MEGABYTE)))], budget))
    assert [getattr(file, "reason", None) for file in files] == ["archive_bomb", None]


def test_a_small_limit_of_files_does_not_limit_how_large_each_may_be():
    noise = random.Random(1).randbytes(MEGABYTE)
    data = zipped(("a.jpg", noise), method=zipfile.ZIP_STORED)
    assert unpacked(data, max_files=1) == [ReceivedFile("a.jpg", noise)]


def test_a_bomb_that_declares_small_sizes_is_stopped_too():
    data = bytearray(zipped(("a.jpg", bytes(3 * MEGABYTE))))
    central = data.index(b"PK\x01\x02")
    struct.pack_into("<I", data, central + 24, 10)
    struct.pack_into("<I", data, 22, 10)
    assert reasons(unpacked(bytes(data))) == {"a.jpg": "damaged_entry"}


def test_one_file_that_is_too_large_is_refused_alone():
    received = unpacked(zipped(("big.jpg", bytes(2 * MEGABYTE)), ("ok.jpg", b"ok")))
    assert reasons(received) == {"big.jpg": "too_large"}
    assert ReceivedFile("ok.jpg", b"ok") in received


def test_more_entries_than_an_upload_may_have_end_it():
    with pytest.raises(QuotaExceeded, match="at most 3 files"):
        unpacked(zipped(*((f"{number}.jpg", b"x") for number in range(4))), max_files=3)


def test_folders_count_towards_the_entries():
    with pytest.raises(QuotaExceeded):
        unpacked(zipped(*((f"{number}/", b"") for number in range(4))), max_files=3)


def test_a_central_directory_of_any_length_is_not_read_into_memory():
    entries = zipped(*((f"{number:0200d}.jpg", b"") for number in range(2000)))
    with pytest.raises(QuotaExceeded, match="directory"):
        unpacked(entries, max_files=1)


def test_what_macos_and_windows_leave_behind_is_not_received():
    received = unpacked(
        zipped(
            (".DS_Store", b"x"),
            ("__MACOSX/._a.jpg", b"\0\x05\x16\x07 more"),
            ("Thumbs.db", b"x"),
            ("a.jpg", b"a"),
            ("._real.jpg", b"a picture, by its content"),
        )
    )
    assert [file.name for file in received] == ["a.jpg", "._real.jpg"]


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}\.jpg", fullmatch=True), st.binary(min_size=1, max_size=50)))
def test_every_entry_is_received_once(entries: dict[str, bytes]):
    received = unpacked(zipped(*entries.items()))
    assert [file.name for file in received] == list(entries)


@given(
    damage=st.lists(st.tuples(st.integers(0, 400), st.integers(1, 255)), max_size=5), cut=st.integers(0, 400)
)
def test_no_damage_raises_anything_but_a_quota(damage: list[tuple[int, int]], cut: int):
    data = bytearray(zipped(("a.jpg", b"one" * 20), ("b/c.jpg", b"two" * 20), method=zipfile.ZIP_STORED))
    for position, change in damage:
        data[position % len(data)] ^= change
    with contextlib.suppress(QuotaExceeded):
        unpacked(bytes(data[: len(data) - cut]))
