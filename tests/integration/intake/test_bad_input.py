"""Every kind of bad input gets a reason on its own row, and its neighbours are taken in."""

import gzip
import io
import stat
import tarfile
import zipfile

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dermabatch.imaging.synthetic import lesion_png
from dermabatch.lifecycle import ImageState
from tests.integration.intake.conftest import Intake, Row, incoming, picture


def zipped(*entries: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return stream.getvalue()


def encrypted_zip() -> bytes:
    data = bytearray(zipped(("secret.jpg", picture(1))))
    data[data.index(b"PK\x03\x04") + 6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def linked_zip() -> bytes:
    link = zipfile.ZipInfo("link.jpg")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return zipped((link, b"/etc/passwd"))


def device_tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        device = tarfile.TarInfo("device")
        device.type = tarfile.CHRTYPE
        archive.addfile(device)
    return stream.getvalue()


def png(*, bits: type, channels: int = 3) -> bytes:
    return cv2.imencode(".png", np.zeros((80, 80, channels), bits))[1].tobytes()


def with_dimensions(jpeg: bytes, width: int, height: int) -> bytes:
    frame = jpeg.index(b"\xff\xc0")
    return jpeg[: frame + 5] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + jpeg[frame + 9 :]


BAD = {
    "a text": ("notes.txt", b"a few words", "not_an_image"),
    "an empty file": ("empty.jpg", b"", "not_an_image"),
    "a GIF": ("moving.gif", b"GIF89a" + bytes(100), "not_an_image"),
    "a JPEG cut in the middle": ("cut.jpg", picture(1)[:1000], "truncated"),
    "a PNG cut at its end": ("cut.png", lesion_png(1, width=96, height=72)[:-20], "truncated"),
    "a JPEG called PNG": ("wrong.png", picture(1), "wrong_suffix"),
    "a header of over 50 megapixels": ("huge.jpg", with_dimensions(picture(1), 9000, 6000), "too_large"),
    "a PNG of 16 bits": ("deep.png", png(bits=np.uint16), "unsupported_bit_depth"),
    "a DICOM object that is none": ("x.dcm", bytes(128) + b"DICM" + bytes(50), None),
    "an archive within an archive": (
        "a.zip",
        zipped(("inner.zip", zipped(("x.jpg", picture(1))))),
        "nested_archive",
    ),
    "an encrypted entry": ("a.zip", encrypted_zip(), "encrypted"),
    "a link in an archive": ("a.zip", linked_zip(), "link"),
    "a path outside": ("a.zip", zipped(("../../etc/x.jpg", picture(1))), "unsafe_path"),
    "a device in a tar": ("a.tar", device_tar(), "special_file"),
    "a ZIP cut off": ("a.zip", zipped(("x.jpg", picture(1)))[:-10], "damaged_archive"),
    "gzip around a picture": ("a.tar.gz", gzip.compress(picture(1)), "damaged_archive"),
    "a 7-Zip archive": ("a.7z", b"7z\xbc\xaf\x27\x1c" + bytes(100), "unsupported_archive"),
}


@pytest.mark.parametrize(("name", "data", "reason"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_refused_on_its_own_row(intake: Intake, name: str, data: bytes, reason: str | None):
    acceptance = intake.upload(
        [incoming("before.jpg", picture(1001)), incoming(name, data), incoming("after.jpg", picture(1002))]
    )
    before, bad, after = intake.images(acceptance.batch_id)
    assert (before.state, after.state) == (ImageState.PENDING, ImageState.PENDING)
    assert bad.state is ImageState.REJECTED
    assert bad.reason_code == reason or reason is None
    assert len(bad.reason) > 15
    assert name not in bad.reason


def test_all_of_it_at_once_disturbs_nothing(intake: Intake):
    bad = [incoming(f"{number}-{name}", data) for number, (name, data, _reason) in enumerate(BAD.values())]
    good = [incoming(f"good-{number}.jpg", picture(2000 + number)) for number in range(len(bad))]
    acceptance = intake.upload([file for pair in zip(good, bad, strict=True) for file in pair])
    assert (acceptance.stored, acceptance.rejected) == (len(good), len(bad))
    assert intake.counts(acceptance.batch_id).difference == 0


def test_a_file_over_the_limit_is_refused_alone(intake: Intake):
    large = incoming("large.jpg", picture(1) + bytes(100_000))
    acceptance = intake.with_settings(max_file_bytes=50_000).upload([large, incoming("b.jpg", picture(2))])
    assert intake.rows(acceptance.batch_id) == [
        Row("large.jpg", ImageState.REJECTED, "too_large"),
        Row("b.jpg", ImageState.PENDING, None),
    ]


def test_the_same_file_again_is_a_duplicate_under_any_name(intake: Intake):
    acceptance = intake.upload(
        [
            incoming("a.jpg", picture(1)),
            incoming("b.jpg", picture(2)),
            incoming("upload.zip", zipped(("folder/again.jpg", picture(1)))),
        ]
    )
    assert intake.rows(acceptance.batch_id)[2] == Row("folder/again.jpg", ImageState.REJECTED, "duplicate")


def test_the_same_file_in_another_batch_is_no_duplicate(intake: Intake):
    for _ in range(2):
        assert intake.upload([incoming("a.jpg", picture(1))]).stored == 1


def test_a_file_that_was_refused_is_no_original_of_a_duplicate(intake: Intake):
    acceptance = intake.upload([incoming("wrong.png", picture(1)), incoming("right.jpg", picture(1))])
    assert [row.reason for row in intake.rows(acceptance.batch_id)] == ["wrong_suffix", None]


def test_a_line_of_the_csv_without_its_file_gets_a_row_and_is_counted(intake: Intake):
    acceptance = intake.upload(
        [incoming("a.jpg", picture(1))], metadata="file,patient\nmissing.jpg,P1\na.jpg,P2\n"
    )
    assert (acceptance.received, acceptance.rejected) == (2, 1)
    assert intake.rows(acceptance.batch_id)[1] == Row(
        "missing.jpg", ImageState.REJECTED, "metadata_without_file"
    )
    assert intake.counts(acceptance.batch_id).difference == 0


def test_a_line_of_the_csv_that_cannot_be_right_refuses_its_file_alone(intake: Intake):
    acceptance = intake.upload(
        [incoming("a.jpg", picture(1)), incoming("b.jpg", picture(2))],
        metadata="file,age\na.jpg,200\nb.jpg,50\n",
    )
    assert [row.reason for row in intake.rows(acceptance.batch_id)] == ["bad_metadata", None]


def test_two_files_that_want_the_same_line_are_not_both_given_its_patient(intake: Intake):
    acceptance = intake.upload(
        [incoming("left/1.jpg", picture(1)), incoming("right/1.jpg", picture(2))],
        metadata="file,patient\n1.jpg,P1\n",
    )
    assert [row.reason for row in intake.rows(acceptance.batch_id)] == [None, "ambiguous_metadata"]


@hypothesis_settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    names=st.lists(st.text(max_size=12), min_size=1, max_size=8),
    content=st.sampled_from([b"", b"text", picture(1), picture(2), picture(3)[:500], zipped(("x", b"y"))]),
    lines=st.lists(st.text("ab.jpg/\\ ", max_size=8), max_size=4, unique=True),
)
def test_whatever_comes_every_received_thing_has_exactly_one_row(intake: Intake, names, content, lines):
    metadata = "file\n" + "".join(f'"{number}{line}"\n' for number, line in enumerate(lines))
    acceptance = intake.upload(
        [incoming(name, content + bytes(number)) for number, name in enumerate(names)], metadata=metadata
    )
    counts = intake.counts(acceptance.batch_id)
    assert counts.difference == 0
    assert counts.received == acceptance.received >= len(names)
