"""Dermatoscopic pictures of lesions that never were: for the demo and the tests, never for training or judging.

Every picture follows from its seed alone.
"""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from dermabatch.imaging.lesion_painting import Kind, paint

_SHARES: Final[dict[Kind, float]] = {
    "nevus": 0.35,
    "melanoma": 0.2,
    "keratosis": 0.15,
    "carcinoma": 0.12,
    "dermatofibroma": 0.1,
    "vascular": 0.08,
}
"""Of the pictures whose kind the seed decides: most are nevi, and a few pictures already show much."""


def lesion_image(
    seed: int, *, width: int = 600, height: int = 450, kind: Kind | None = None
) -> npt.NDArray[np.uint8]:
    """Paint one lesion; about 20 ms at the published size of HAM10000, which is the default.

    Args:
        seed: the same seed paints the same picture.
        width, height: pixels.
        kind: what it resembles; the seed decides where None.

    Returns:
        uint8[height, width, 3], RGB.
    """
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(_SHARES), p=list(_SHARES.values()))
    return paint(rng, width, height, kind or list(_SHARES)[chosen])


def lesion_jpeg(
    seed: int, *, width: int = 600, height: int = 450, kind: Kind | None = None, quality: int = 90
) -> bytes:
    """`lesion_image` as a baseline JPEG; `quality` from 1 to 100."""
    picture = lesion_image(seed, width=width, height=height, kind=kind)
    return _encoded(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])


def lesion_png(seed: int, *, width: int = 600, height: int = 450, kind: Kind | None = None) -> bytes:
    """`lesion_image` as a PNG of 8 bits a channel."""
    return _encoded(".png", lesion_image(seed, width=width, height=height, kind=kind))


def _encoded(suffix: str, rgb: npt.NDArray[np.uint8], parameters: Sequence[int] = ()) -> bytes:
    written, data = cv2.imencode(suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), parameters)
    assert written
    return data.tobytes()
