"""What a sandboxed decoder can do. Nothing here opens a file, a socket or a process."""

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from cv2.typing import MatLike

from dermabatch.errors import ImageRejected
from dermabatch.imaging import dicom_reader, jpeg, png
from dermabatch.imaging.decoded import Decoded
from dermabatch.imaging.dicom import DicomImage
from dermabatch.imaging.preprocess import preprocess
from dermabatch.imaging.quality import measure
from dermabatch.imaging.rejection import RejectionReason

THUMBNAIL_EDGE: Final = 96
"""Pixels of a thumbnail's longest edge."""

_TURNS: Final = {
    3: cv2.ROTATE_180,
    4: cv2.ROTATE_180,
    5: cv2.ROTATE_90_CLOCKWISE,
    6: cv2.ROTATE_90_CLOCKWISE,
    7: cv2.ROTATE_90_COUNTERCLOCKWISE,
    8: cv2.ROTATE_90_COUNTERCLOCKWISE,
}
_MIRRORED: Final = {2, 4, 5, 7}
"""EXIF orientations that need a left-right flip after their turn."""


def decode(data: bytes | memoryview, orientation: int, size: int) -> Decoded:
    """Decode, turn upright, preprocess and measure one JPEG or PNG.

    Args:
        data: JPEG or PNG, stripped.
        orientation: 1 to 8, as in EXIF.
        size: edge of the square that the network takes, in pixels.

    Raises:
        ImageRejected: not_an_image, undecodable.
    """
    picture = upright_rgb(data, orientation)
    height, width = picture.shape[:2]
    pixels = preprocess(picture, size)
    return Decoded(pixels, width, height, measure(pixels, width, height), _thumbnail(pixels, width, height))


def render(data: bytes | memoryview, orientation: int, longest_edge: int) -> bytes:
    """A picture for the browser: decoded and encoded anew, so that no byte of the sender's reaches a reader.

    Returns:
        JPEG, upright, its longest edge at most `longest_edge` pixels; never enlarged.

    Raises:
        ImageRejected: not_an_image, undecodable.
    """
    picture: MatLike = upright_rgb(data, orientation)
    height, width = picture.shape[:2]
    scale = min(1.0, longest_edge / max(height, width))
    if scale < 1:
        smaller = (max(1, round(width * scale)), max(1, round(height * scale)))
        picture = cv2.resize(picture, smaller, interpolation=cv2.INTER_AREA)
    return _jpeg(picture, 90)


def extract_dicom(data: bytes) -> DicomImage:
    """See `dicom_reader.extract_image`."""
    return dicom_reader.extract_image(data)


def warm_up() -> None:
    """Do everything once: a confined decoder can load no module and open no file."""
    cv2.setNumThreads(1)
    grey = np.full((96, 128, 3), 128, np.uint8)
    for suffix in (".jpg", ".png"):
        decode(cv2.imencode(suffix, grey)[1].tobytes(), orientation=6, size=64)
    render(_jpeg(grey, 90), orientation=1, longest_edge=64)
    dicom_reader.warm_up()


def upright_rgb(data: bytes | memoryview, orientation: int) -> npt.NDArray[np.uint8]:
    """The whole picture, uint8[H, W, 3], RGB, as a person held the camera; transparent parts on white.

    Raises:
        ImageRejected: not_an_image, undecodable; corrupt where a PNG holds more than it promises.
    """
    encoded = np.frombuffer(data, np.uint8)
    start = encoded[: len(png.SIGNATURE)].tobytes()
    # OpenCV tries two dozen formats on whatever it is given; only these two parsers may ever see a byte.
    if start.startswith(jpeg.SIGNATURE):
        picture = cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    elif start == png.SIGNATURE:
        png.check_unpacked_size(bytes(data))
        picture = _on_white(cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED))
    else:
        raise ImageRejected(RejectionReason.NOT_AN_IMAGE, "expected JPEG or PNG, received something else")
    if picture is None:
        raise ImageRejected(
            RejectionReason.UNDECODABLE,
            "the picture cannot be decoded: its data are damaged; export it again",
        )
    if orientation in _TURNS:
        picture = cv2.rotate(picture, _TURNS[orientation])
    if orientation in _MIRRORED:
        picture = cv2.flip(picture, 1)
    return np.asarray(picture, np.uint8)


def _on_white(picture: MatLike | None) -> MatLike | None:
    """A PNG as OpenCV reads it unchanged (grey, BGR or BGRA) as RGB, on the white that every viewer shows."""
    if picture is None:
        return None
    if picture.ndim == 2:
        return cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)
    rgb = cv2.cvtColor(picture, cv2.COLOR_BGRA2RGB if picture.shape[2] == 4 else cv2.COLOR_BGR2RGB)
    if picture.shape[2] == 4 and picture[..., 3].min() < 255:
        alpha = cv2.cvtColor(picture[..., 3], cv2.COLOR_GRAY2RGB)
        rgb = cv2.add(cv2.multiply(rgb, alpha, scale=1 / 255), cv2.bitwise_not(alpha))
    return rgb


def _thumbnail(pixels: npt.NDArray[np.uint8], width: int, height: int) -> bytes:
    """From the preprocessed square back to the picture's own aspect."""
    scale = THUMBNAIL_EDGE / max(width, height)
    shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    # Halving by area and then sampling looks like one area average and costs a sixth of it.
    half = cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return _jpeg(cv2.resize(half, shape, interpolation=cv2.INTER_LINEAR), 80)


def _jpeg(rgb: MatLike, quality: int) -> bytes:
    written, encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    assert written
    return encoded.tobytes()
