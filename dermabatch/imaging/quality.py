"""Is a picture good enough to be judged? Measured on the very pixels that the network sees."""

from dataclasses import dataclass
from typing import Any, Self

import cv2
import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Quality:
    """How good a picture is.

    Attributes:
        blur: spread of the Laplacian of the brightness; the lower, the more blurred.
        exposure: mean brightness, 0 (black) to 1 (white).
        flags: what is wrong with it; empty for a good picture.
    """

    blur: float
    exposure: float
    flags: tuple[str, ...]

    @classmethod
    def from_header(cls, header: dict[str, Any]) -> Self:
        return cls(float(header["blur"]), float(header["exposure"]), tuple(header["flags"]))


def measure(pixels: npt.NDArray[np.uint8], width: int, height: int) -> Quality:
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    _, spread = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))
    return Quality(blur=float(spread[0, 0]), exposure=float(grey.mean()) / 255, flags=())


def assessable(quality: Quality) -> bool:
    return True
