"""How large and how small a picture may be; judged from its header, before anything is decoded."""

from typing import Final

from dermabatch.errors import ImageRejected
from dermabatch.imaging.rejection import RejectionReason

MAX_BYTES: Final = 64 * 2**20
"""Of one file. A 50-megapixel JPEG of the best quality has about 40 MiB."""

MAX_PIXELS: Final = 50_000_000
"""Decoded to RGB these are 150 MB; no dermatoscope reaches them."""

MIN_EDGE: Final = 64
"""Pixels. Below a third of what the network sees (224) a picture holds no structure of a lesion."""


def check_bytes(size: int) -> None:
    """Refuse a file of more than `MAX_BYTES`.

    Raises:
        ImageRejected: too_large.
    """
    if size > MAX_BYTES:
        raise ImageRejected(
            RejectionReason.TOO_LARGE,
            f"the file is too large: {size / 2**20:.0f} MB, at most {MAX_BYTES // 2**20} MB",
        )


def check_dimensions(width: int, height: int) -> None:
    """Refuse what has too many or too few pixels.

    Raises:
        ImageRejected: too_large or too_small.
    """
    if width * height > MAX_PIXELS:
        raise ImageRejected(
            RejectionReason.TOO_LARGE,
            f"the picture is too large: {width} x {height} pixels are {width * height / 1e6:.0f} megapixels,"
            f" at most {MAX_PIXELS // 10**6}",
        )
    if min(width, height) < MIN_EDGE:
        raise ImageRejected(
            RejectionReason.TOO_SMALL,
            f"the picture is too small to show a lesion: {width} x {height} pixels,"
            f" at least {MIN_EDGE} x {MIN_EDGE}",
        )
