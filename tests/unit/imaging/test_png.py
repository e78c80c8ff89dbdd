"""PNG at intake: what is kept, what is stripped, what is refused."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermabatch.errors import ImageRejected
from dermabatch.imaging.png import check_unpacked_size, inspect_png
from dermabatch.imaging.synthetic import lesion_image, lesion_png
from tests.unit.imaging.files import (
    GREY,
    PALETTE,
    PNG_SIGNATURE,
    RGB,
    RGB_ALPHA,
    Chunk,
    exif,
    png,
    png_chunk,
    png_chunks,
    png_header,
    png_of,
)

LESION = lesion_png(1, width=120, height=90)
PIXELS = lesion_image(1, width=120, height=90)
SECRET = b"Jane Doe, born 1 April 1970"


def reason_for(data: bytes) -> str:
    with pytest.raises(ImageRejected) as refusal:
        inspect_png(data)
    return refusal.value.reason


def test_a_png_without_metadata_is_kept_byte_for_byte() -> None:
    picture = inspect_png(LESION)
    assert picture.stripped == LESION
    assert (picture.width, picture.height, picture.orientation) == (120, 90, 1)


@pytest.mark.parametrize(
    "kind", [b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"iCCP", b"gAMA", b"tIME", b"pHYs", b"prVt"]
)
def test_metadata_is_stripped_and_the_rest_stays(kind: bytes) -> None:
    assert inspect_png(png(PIXELS, extra=[(kind, SECRET)])).stripped == png(PIXELS)


def test_what_follows_the_end_is_stripped() -> None:
    assert inspect_png(LESION + SECRET).stripped == LESION


def test_palette_and_transparency_stay() -> None:
    coded = (PIXELS[..., 0] > 128).astype(np.uint8)
    data = png(coded, PALETTE, [(b"PLTE", bytes(6)), (b"tRNS", b"\0\xff")])
    assert inspect_png(data).stripped == data


def test_the_orientation_is_read_before_it_is_stripped() -> None:
    picture = inspect_png(png(PIXELS, extra=[(b"eXIf", exif(6))]))
    assert (picture.orientation, picture.width, picture.height) == (6, 90, 120)


@given(st.integers(len(PNG_SIGNATURE), len(LESION) - 1))
def test_a_png_cut_anywhere_is_truncated(length: int) -> None:
    assert reason_for(LESION[:length]) == "truncated"


@given(st.integers(len(PNG_SIGNATURE), len(LESION) - 1), st.integers(1, 255))
def test_any_changed_byte_is_found(at: int, change: int) -> None:
    changed = bytearray(LESION)
    changed[at] ^= change
    # A changed length may also point behind the end of the file, a changed type at another chunk.
    assert reason_for(bytes(changed)) in {"corrupt", "truncated"}


@given(st.binary(max_size=200))
def test_any_bytes_behind_the_signature_are_judged_without_a_crash(tail: bytes) -> None:
    assert reason_for(PNG_SIGNATURE + tail) in {"truncated", "corrupt"}


@pytest.mark.parametrize(("width", "height"), [(65535, 65535), (2**31 - 1, 2**31 - 1), (10_000, 5_001)])
def test_a_bomb_is_refused_from_its_header(width: int, height: int) -> None:
    assert reason_for(png_of(png_header(width, height))) == "too_large"


def test_sixteen_bits_a_channel_are_refused() -> None:
    assert reason_for(png_of(png_header(120, 90, bits=16))) == "unsupported_bit_depth"


def test_an_animation_is_refused() -> None:
    assert reason_for(png(PIXELS, extra=[(b"acTL", struct.pack(">II", 2, 0))])) == "animated"


@pytest.mark.parametrize(
    "header",
    [
        png_header(120, 90, colour=1),
        png_header(120, 90, colour=RGB, bits=4),
        (b"IHDR", struct.pack(">IIBBBBB", 120, 90, 8, RGB, 1, 0, 0)),
        (b"IHDR", struct.pack(">IIBBBBB", 120, 90, 8, RGB, 0, 0, 2)),
        (b"IHDR", b"short"),
        (b"IDAT", bytes(13)),
    ],
    ids=["colour", "bits", "compression", "interlace", "short", "missing"],
)
def test_a_header_that_contradicts_itself_is_refused(header: Chunk) -> None:
    assert reason_for(png_of(header, *list(png_chunks(LESION))[1:])) == "corrupt"


def test_unknown_critical_parts_are_refused() -> None:
    assert reason_for(png(PIXELS, extra=[(b"EVIL", SECRET)])) == "corrupt"


@pytest.mark.parametrize(
    "extra",
    [
        [(b"IDAT", b""), (b"PLTE", bytes(6))],
        [(b"PLTE", bytes(6))] * 2,
        [(b"tRNS", b"\0"), (b"PLTE", bytes(6))],
    ],
    ids=["data apart", "two palettes", "transparency first"],
)
def test_parts_out_of_order_are_refused(extra: list[Chunk]) -> None:
    assert reason_for(png((PIXELS[..., 0] > 128).astype(np.uint8), GREY, extra)) == "corrupt"


def test_a_palette_picture_without_its_palette_is_refused() -> None:
    assert reason_for(png(PIXELS[..., 0].copy(), PALETTE)) == "corrupt"


def test_a_png_without_a_picture_is_refused() -> None:
    assert reason_for(png_of(png_header(120, 90), (b"IEND", b""))) == "corrupt"


def test_a_wrong_checksum_is_refused() -> None:
    wrong = png_chunk(*png_header(120, 90))[:-4] + bytes(4)
    assert reason_for(PNG_SIGNATURE + wrong + LESION[33:]) == "corrupt"


@pytest.mark.parametrize(
    ("header", "unpacked"),
    [
        ((64, 64, 8, RGB, 0), 64 * (1 + 3 * 64)),
        ((65, 67, 1, GREY, 0), 67 * (1 + 9)),  # 65 bits fill 9 bytes
        ((64, 64, 8, RGB_ALPHA, 0), 64 * (1 + 4 * 64)),
        # Seven passes, each row with a byte before it: 8 by 8 twice, 16 by 8, 16 by 16, 32 by 16, 32 by 32, 64 by 32.
        ((64, 64, 8, GREY, 1), 2 * 8 * 9 + 8 * 17 + 16 * 17 + 16 * 33 + 32 * 33 + 32 * 65),
    ],
    ids=["rgb", "bits", "alpha", "interlaced"],
)
def test_data_that_unpack_to_what_the_header_promises_pass_and_one_byte_more_does_not(
    header: tuple[int, int, int, int, int], unpacked: int
) -> None:
    def with_data(count: int) -> bytes:
        width, height, bits, colour, interlaced = header
        chunk = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
        packed = zlib.compress(bytes(count))
        return png_of((b"IHDR", chunk), (b"IDAT", packed[:5]), (b"IDAT", packed[5:]), (b"IEND", b""))

    check_unpacked_size(with_data(unpacked))
    with pytest.raises(ImageRejected, match="more than its header promises"):
        check_unpacked_size(with_data(unpacked + 1))


def test_data_that_cannot_be_unpacked_are_refused() -> None:
    with pytest.raises(ImageRejected, match="cannot be unpacked"):
        check_unpacked_size(png_of(png_header(120, 90), (b"IDAT", b"no data"), (b"IEND", b"")))
