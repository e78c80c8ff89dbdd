"""What a decoder makes of a picture, run here without its sandbox."""

import cv2
import numpy as np
import pytest

from dermabatch.errors import ImageRejected
from dermabatch.imaging.operations import decode, render, upright_rgb
from dermabatch.imaging.preprocess import preprocess
from dermabatch.imaging.synthetic import lesion_image, lesion_jpeg, lesion_png
from tests.unit.imaging.files import (
    GREY,
    GREY_ALPHA,
    PALETTE,
    RGB,
    RGB_ALPHA,
    exif,
    jpeg_with,
    png,
)

PIXELS = lesion_image(1, width=120, height=90)


def opened(data: bytes, flags: int = cv2.IMREAD_COLOR) -> np.ndarray:
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), flags), cv2.COLOR_BGR2RGB)


def test_a_png_is_decoded_to_its_own_pixels() -> None:
    assert np.array_equal(upright_rgb(lesion_png(1, width=120, height=90), 1), PIXELS)


def test_a_decoded_picture_is_preprocessed_and_keeps_its_own_size() -> None:
    decoded = decode(lesion_png(1), 1, 224)
    assert np.array_equal(decoded.pixels, preprocess(lesion_image(1), 224))
    assert (decoded.width, decoded.height) == (600, 450)


@pytest.mark.parametrize(
    ("width", "height", "shape"), [(600, 450, (72, 96)), (450, 600, (96, 72)), (2000, 70, (3, 96))]
)
def test_a_thumbnail_keeps_the_aspect_of_its_picture(width: int, height: int, shape: tuple[int, int]) -> None:
    thumbnail = decode(lesion_jpeg(1, width=width, height=height), 1, 224).thumbnail
    assert opened(thumbnail).shape[:2] == shape


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_as_viewers_turn_it(orientation: int) -> None:
    data = lesion_jpeg(1, width=120, height=90)
    as_seen = opened(jpeg_with(data, (0xE1, b"Exif\0\0" + exif(orientation))))
    assert np.array_equal(upright_rgb(data, orientation), as_seen)


def test_grey_becomes_rgb() -> None:
    grey = PIXELS[..., 0].copy()
    assert np.array_equal(upright_rgb(png(grey, GREY), 1), np.dstack([grey] * 3))


def test_a_palette_becomes_its_colours() -> None:
    coded = (PIXELS[..., 0] > 128).astype(np.uint8)
    colours = np.array([(200, 10, 30), (40, 90, 250)], np.uint8)
    assert np.array_equal(upright_rgb(png(coded, PALETTE, [(b"PLTE", colours.tobytes())]), 1), colours[coded])


def test_an_opaque_alpha_channel_changes_nothing() -> None:
    opaque = np.dstack([PIXELS, np.full(PIXELS.shape[:2], 255, np.uint8)])
    assert np.array_equal(upright_rgb(png(opaque, RGB_ALPHA), 1), PIXELS)


def test_transparent_pixels_are_white_whatever_colour_lies_below() -> None:
    alpha = np.zeros(PIXELS.shape[:2], np.uint8)
    alpha[:, 60:] = 255
    picture = upright_rgb(png(np.dstack([PIXELS, alpha]), RGB_ALPHA), 1)
    assert (picture[:, :60] == 255).all()
    assert np.array_equal(picture[:, 60:], PIXELS[:, 60:])


def test_half_transparent_pixels_are_mixed_with_white() -> None:
    half = np.dstack([np.full((64, 64), 55, np.uint8), np.full((64, 64), 102, np.uint8)])
    assert abs(int(upright_rgb(png(half, GREY_ALPHA), 1)[0, 0, 0]) - (55 * 0.4 + 255 * 0.6)) <= 1


def test_a_transparent_palette_entry_is_white() -> None:
    coded = np.zeros((64, 64), np.uint8)
    transparent = png(coded, PALETTE, [(b"PLTE", b"\x10\x20\x30"), (b"tRNS", b"\0")])
    assert (upright_rgb(transparent, 1) == 255).all()


def test_a_transparent_key_colour_is_white() -> None:
    keyed = png(np.full((64, 64, 3), 20, np.uint8), RGB, [(b"tRNS", b"\0\x14\0\x14\0\x14")])
    assert (upright_rgb(keyed, 1) == 255).all()


def test_a_rendered_picture_fits_and_is_upright() -> None:
    assert opened(render(lesion_jpeg(1), 6, 300)).shape == (300, 225, 3)


def test_a_rendered_picture_is_never_enlarged() -> None:
    assert opened(render(lesion_png(1, width=120, height=90), 1, 1600)).shape == (90, 120, 3)


def test_a_rendered_picture_holds_nothing_of_its_metadata() -> None:
    secret = b"Jane Doe, born 1 April 1970"
    assert secret not in render(jpeg_with(lesion_jpeg(1), (0xFE, secret)), 1, 600)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF89a" + bytes(100),
        b"BM" + bytes(100),
        b"II*\0" + bytes(100),
        b"P6 64 64 255 " + bytes(64 * 64 * 3),
    ],
    ids=["nothing", "gif", "bmp", "tiff", "ppm"],
)
def test_opencv_sees_nothing_but_jpeg_and_png(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("a parser was reached"))
    with pytest.raises(ImageRejected) as refusal:
        decode(data, 1, 224)
    assert refusal.value.reason == "not_an_image"


@pytest.mark.parametrize(
    ("data", "reason"),
    [(lesion_jpeg(1)[:200], "undecodable"), (lesion_png(1)[:5000], "truncated")],
    ids=["jpeg", "png"],
)
def test_a_picture_that_cannot_be_decoded_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ImageRejected) as refusal:
        decode(data, 1, 224)
    assert refusal.value.reason == reason
