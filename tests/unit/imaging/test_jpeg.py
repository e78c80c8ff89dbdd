"""JPEG at intake: what is kept, what is stripped, what is refused."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermabatch.errors import ImageRejected
from dermabatch.imaging.jpeg import inspect_jpeg
from dermabatch.imaging.synthetic import lesion_image, lesion_jpeg
from tests.unit.imaging.files import exif, frame_header, jpeg_frame_at, jpeg_with, with_frame

LESION = lesion_jpeg(1)
SECRET = b"Jane Doe, born 1 April 1970"


def reason_for(data: bytes) -> str:
    with pytest.raises(ImageRejected) as refusal:
        inspect_jpeg(data)
    return refusal.value.reason


def decoded(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)


def test_a_jpeg_without_metadata_is_kept_byte_for_byte() -> None:
    picture = inspect_jpeg(LESION)
    assert picture.stripped == LESION
    assert (picture.width, picture.height, picture.orientation) == (600, 450, 1)


@pytest.mark.parametrize(
    ("marker", "content"),
    [
        (0xE1, b"Exif\0\0" + exif(1) + SECRET),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + SECRET),
        (0xE2, b"ICC_PROFILE\0\x01\x01" + SECRET),
        (0xED, b"Photoshop 3.0\0" + SECRET),
        (0xFE, SECRET),
        (0xE0, b"JFXX\0\x10" + SECRET),
    ],
    ids=["exif", "xmp", "icc", "photoshop", "comment", "thumbnail"],
)
def test_metadata_is_stripped_and_the_pixels_stay(marker: int, content: bytes) -> None:
    stripped = inspect_jpeg(jpeg_with(LESION, (marker, content))).stripped
    assert SECRET not in stripped
    assert np.array_equal(decoded(stripped), decoded(LESION))


def test_the_thumbnail_inside_the_jfif_header_is_stripped() -> None:
    header = b"JFIF\0\x01\x01\0\0\x01\0\x01\x03\x03" + SECRET
    assert (
        inspect_jpeg(LESION[:2] + jpeg_with(LESION[:2], (0xE0, header))[2:] + LESION[20:]).stripped == LESION
    )


def test_what_follows_the_end_marker_is_stripped() -> None:
    assert inspect_jpeg(LESION + SECRET + LESION).stripped == LESION


def test_progressive_jpegs_are_kept() -> None:
    written, data = cv2.imencode(".jpg", lesion_image(1), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    assert written
    assert np.array_equal(decoded(inspect_jpeg(data.tobytes()).stripped), decoded(data.tobytes()))


def test_restart_markers_are_part_of_the_picture() -> None:
    written, data = cv2.imencode(".jpg", lesion_image(1), [cv2.IMWRITE_JPEG_RST_INTERVAL, 4])
    assert written
    assert inspect_jpeg(data.tobytes()).stripped == data.tobytes()


def test_the_adobe_marker_stays_because_it_says_how_to_read_the_colours() -> None:
    rgb_coded = jpeg_with(LESION[:2] + LESION[20:], (0xEE, b"Adobe\0\x64\0\0\0\0\0"))
    stripped = inspect_jpeg(rgb_coded).stripped
    assert np.array_equal(decoded(stripped), decoded(rgb_coded))
    assert not np.array_equal(decoded(stripped), decoded(LESION))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_read_before_it_is_stripped(orientation: int, order: str) -> None:
    picture = inspect_jpeg(jpeg_with(LESION, (0xE1, b"Exif\0\0" + exif(orientation, order))))
    assert picture.orientation == orientation
    assert (picture.width, picture.height) == ((450, 600) if orientation >= 5 else (600, 450))


@pytest.mark.parametrize("block", [b"", b"II*\0", exif(1)[:-6], exif(0), exif(9), b"nonsense" * 4])
def test_damaged_exif_means_upright(block: bytes) -> None:
    assert inspect_jpeg(jpeg_with(LESION, (0xE1, b"Exif\0\0" + block))).orientation == 1


@given(st.integers(3, len(LESION) - 1))
def test_a_jpeg_cut_anywhere_is_truncated(length: int) -> None:
    assert reason_for(LESION[:length]) == "truncated"


@given(st.binary(max_size=200))
def test_any_bytes_behind_the_signature_are_judged_without_a_crash(tail: bytes) -> None:
    assert reason_for(b"\xff\xd8\xff" + tail) in {
        "truncated", "corrupt", "too_large", "too_small", "cmyk", "unsupported_bit_depth", "unsupported_encoding"
    }  # fmt: skip


@given(st.data())
def test_a_jpeg_with_changed_bytes_is_judged_without_a_crash(data: st.DataObject) -> None:
    changed = bytearray(LESION[:1500] + LESION[-200:])
    for _ in range(data.draw(st.integers(1, 5))):
        changed[data.draw(st.integers(3, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        picture = inspect_jpeg(bytes(changed))
    except ImageRejected:
        return
    assert len(picture.stripped) <= len(changed)


@pytest.mark.parametrize(("width", "height"), [(65535, 65535), (10_000, 5_001)])
def test_a_bomb_is_refused_from_its_header(width: int, height: int) -> None:
    # Cut right behind the header: nothing of the picture was needed to refuse it.
    bomb = with_frame(LESION, frame_header(width, height))[: jpeg_frame_at(LESION) + 19]
    assert reason_for(bomb) == "too_large"


def test_a_header_of_fifty_megapixels_is_still_taken() -> None:
    assert inspect_jpeg(with_frame(LESION, frame_header(10_000, 5_000))).width == 10_000


@pytest.mark.parametrize(("width", "height"), [(63, 600), (600, 0)])
def test_a_picture_too_small_to_show_a_lesion_is_refused(width: int, height: int) -> None:
    assert reason_for(with_frame(LESION, frame_header(width, height))) == "too_small"


def test_cmyk_is_refused() -> None:
    assert reason_for(with_frame(LESION, frame_header(600, 450, components=4))) == "cmyk"


def test_two_colour_channels_are_no_picture() -> None:
    assert reason_for(with_frame(LESION, frame_header(600, 450, components=2))) == "corrupt"


def test_twelve_bits_a_channel_are_refused() -> None:
    assert reason_for(with_frame(LESION, frame_header(600, 450, bits=12), 0xC1)) == "unsupported_bit_depth"


@pytest.mark.parametrize("marker", [0xC3, 0xC5, 0xC7, 0xC9, 0xCA, 0xCB, 0xCF, 0xF7])
def test_lossless_hierarchical_and_arithmetic_jpegs_are_refused(marker: int) -> None:
    assert reason_for(with_frame(LESION, frame_header(600, 450), marker)) == "unsupported_encoding"


def test_a_jpeg_with_thousands_of_scans_is_refused() -> None:
    frame = jpeg_frame_at(LESION)
    scan = LESION.index(b"\xff\xda", frame)
    assert reason_for(LESION[:scan] + LESION[scan : scan + 200] * 2000 + LESION[-2:]) == "corrupt"


@pytest.mark.parametrize(
    ("edge", "scans", "reason"), [(7_000, 20, None), (7_000, 21, "corrupt"), (600, 99, None)]
)
def test_the_larger_a_picture_the_fewer_scans_it_may_have(edge: int, scans: int, reason: str | None) -> None:
    scan = LESION.index(b"\xff\xda", jpeg_frame_at(LESION))
    data = with_frame(
        LESION[:scan] + LESION[scan : scan + 200] * scans + LESION[-2:], frame_header(edge, edge)
    )
    if reason is None:
        assert inspect_jpeg(data).width == edge
    else:
        assert reason_for(data) == reason


def test_a_second_picture_header_is_refused() -> None:
    frame = jpeg_frame_at(LESION)
    assert reason_for(LESION[:frame] + LESION[frame : frame + 19] + LESION[frame:]) == "corrupt"


def test_a_jpeg_without_a_picture_is_refused() -> None:
    assert reason_for(b"\xff\xd8\xff\xd9") == "corrupt"
