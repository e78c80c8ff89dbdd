"""Tar archives: one pass, entry by entry, whatever the headers claim."""

import contextlib
import gzip
import io
import random
import tarfile
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermabatch.errors import QuotaExceeded
from dermabatch.intake.budget import Budget
from dermabatch.intake.incoming import IncomingFile, Received, ReceivedFile, RefusedFile
from dermabatch.intake.unpacking import unpack

MEGABYTE = 2**20


def entry(
    name: str, data: bytes = b"", *, kind: bytes = tarfile.REGTYPE, target: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, len(data)
    return info, data


def tarred(*entries: tuple[tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=format) as archive:
        for info, data in entries:
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def unpacked(
    data: bytes, *, max_files: int = 100, max_bytes: int = 10 * MEGABYTE, max_file_bytes: int = MEGABYTE
) -> list[Received]:
    budget = Budget(max_files=max_files, max_bytes=max_bytes, max_file_bytes=max_file_bytes)
    return list(unpack([IncomingFile("upload.tar", io.BytesIO(data))], budget))


def reasons(received: Iterable[Received]) -> dict[str, str]:
    return {file.name: file.reason for file in received if isinstance(file, RefusedFile)}


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_entries_come_out_in_order_and_folders_are_no_files(pack, format: int):
    large = bytes(range(256)) * 1000
    data = tarred(
        entry("b", kind=tarfile.DIRTYPE), entry("b/2.jpg", large), entry("1.jpg", b"one"), format=format
    )
    assert unpacked(pack(data)) == [ReceivedFile("b/2.jpg", large), ReceivedFile("1.jpg", b"one")]


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_are_kept(format: int):
    name = "folder/" * 40 + "lesion-ä.jpg"
    assert unpacked(tarred(entry(name, b"x"), format=format)) == [ReceivedFile(name, b"x")]


def test_what_is_no_plain_file_within_is_refused_and_its_neighbours_are_not():
    received = unpacked(
        tarred(
            entry("1.jpg", b"one"),
            entry("symbolic.jpg", kind=tarfile.SYMTYPE, target="/etc/passwd"),
            entry("hard.jpg", kind=tarfile.LNKTYPE, target="1.jpg"),
            entry("device", kind=tarfile.CHRTYPE),
            entry("pipe", kind=tarfile.FIFOTYPE),
            entry("/absolute.jpg", b"x"),
            entry("../outside.jpg", b"x"),
            entry("inner.jpg", tarred(entry("x.jpg", b"x"))),
            entry("2.jpg", b"two"),
        )
    )
    assert reasons(received) == {
        "symbolic.jpg": "link",
        "hard.jpg": "link",
        "device": "special_file",
        "pipe": "special_file",
        "/absolute.jpg": "unsafe_path",
        "../outside.jpg": "unsafe_path",
        "inner.jpg": "nested_archive",
    }
    assert received[0] == ReceivedFile("1.jpg", b"one")
    assert received[-1] == ReceivedFile("2.jpg", b"two")


def test_what_came_before_the_damage_is_received():
    data = tarred(entry("1.jpg", b"one"), entry("2.jpg", b"x" * 5000))
    received = unpacked(data[:4000])
    assert received[0] == ReceivedFile("1.jpg", b"one")
    assert reasons(received) == {"2.jpg": "damaged_entry", "upload.tar": "damaged_archive"}


def test_a_broken_header_in_the_middle_is_not_taken_for_the_end():
    data = bytearray(tarred(entry("1.jpg", b"one"), entry("2.jpg", b"two"), format=tarfile.USTAR_FORMAT))
    data[1024 + 150] ^= 1  # the checksum of the second header
    received = unpacked(bytes(data))
    assert received[0] == ReceivedFile("1.jpg", b"one")
    assert reasons(received) == {"upload.tar": "damaged_archive"}


def test_gzip_that_was_cut_off_is_damage():
    received = unpacked(gzip.compress(tarred(entry("1.jpg", b"one")))[:-20])
    assert "upload.tar" in reasons(received)


def test_gzip_around_something_else_is_damage():
    assert reasons(unpacked(gzip.compress(b"a picture" * 100))) == {"upload.tar": "damaged_archive"}


def test_more_bytes_than_an_upload_may_bring_end_it():
    noise = random.Random(1).randbytes(MEGABYTE - 1)
    with pytest.raises(QuotaExceeded, match="unpacked"):
        unpacked(gzip.compress(tarred(*(entry(f"{number}.jpg", noise) for number in range(11)))))


@pytest.mark.parametrize("name", ["read.jpg", "/skipped.jpg"])
def test_a_bomb_is_stopped_by_what_comes_out_of_it_read_or_skipped(name: str):
    bomb = gzip.compress(tarred(entry("1.jpg", b"one"), entry(name, bytes(20 * MEGABYTE))))
    assert len(bomb) < MEGABYTE / 10
    received = unpacked(bomb)
    assert received[0] == ReceivedFile("1.jpg", b"one")
    assert reasons(received)["upload.tar"] == "archive_bomb"


def test_one_file_that_is_too_large_is_refused_alone():
    received = unpacked(tarred(entry("big.jpg", bytes(2 * MEGABYTE)), entry("ok.jpg", b"ok")))
    assert reasons(received) == {"big.jpg": "too_large"}
    assert received[-1] == ReceivedFile("ok.jpg", b"ok")


def test_a_header_of_any_length_is_not_read_into_memory():
    long_header = tarfile.TarInfo("x.jpg")
    long_header.pax_headers = {"comment": "x" * MEGABYTE}
    received = unpacked(tarred(entry("1.jpg", b"one"), (long_header, b"")))
    assert received[0] == ReceivedFile("1.jpg", b"one")
    assert reasons(received) == {"upload.tar": "damaged_archive"}


def test_more_entries_than_an_upload_may_have_end_it():
    with pytest.raises(QuotaExceeded, match="at most 3 files"):
        unpacked(tarred(*(entry(f"{number}.jpg", b"x") for number in range(4))), max_files=3)


@given(
    damage=st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 255)), max_size=5),
    cut=st.integers(0, 3000),
    format=st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_no_damage_raises_anything_but_a_quota(damage: list[tuple[int, int]], cut: int, format: int):
    data = bytearray(
        tarred(entry("a" * 60 + "/" + "b" * 60, b"one" * 20), entry("b/c.jpg", b"two" * 20), format=format)
    )
    for position, change in damage:
        data[position] ^= change
    with contextlib.suppress(QuotaExceeded):
        unpacked(bytes(data[: len(data) - cut]))
