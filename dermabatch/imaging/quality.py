"""Is a picture good enough to be judged? Measured on the very pixels that the network sees.

The limits were chosen on the 10,015 pictures of HAM10000 at 224 x 224: 0.3 % of them get a flag, none is hopeless.
What the limits find in the same pictures once they are spoiled (blur: Gaussian of so many pixels; light: every
value multiplied):

| spoiled by | flagged | hopeless |   | spoiled by | flagged | hopeless |
|------------|---------|----------|---|------------|---------|----------|
| blur 1     |    42 % |    0.2 % |   | light 0.15 |   100 % |    100 % |
| blur 2     |    99 % |     47 % |   | light 1.5  |    61 % |     13 % |
| blur 3     |   100 % |     92 % |   | light 2    |    97 % |     56 % |
| light 0.3  |    92 % |    0.2 % |   | light 3    |   100 % |     87 % |

Darkness is read from the brightest twentieth of a picture, not from its mean, so that dark skin in good light is
not taken for bad light.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self

import cv2
import numpy as np
import numpy.typing as npt


class QualityFlag(StrEnum):
    """What is wrong with a picture; reads well after "the picture is"."""

    BLURRED = "blurred"  # out of focus or moved
    TOO_DARK = "too_dark"  # even its brightest parts are dark
    TOO_BRIGHT = "too_bright"  # much of it is burnt out
    BLANK = "blank"  # one even surface, such as a covered or a lifted lens
    COLOURLESS = "colourless"  # shades of grey; the network has only seen colour
    SMALL = "small"  # fewer pixels than the network looks at


@dataclass(frozen=True, slots=True)
class _Limits:
    """Where a flag begins, and where a picture becomes hopeless."""

    flagged: float
    hopeless: float


_BLUR: Final = _Limits(2.2, 1.5)
_HIGHLIGHT: Final = _Limits(0.25, 0.16)
_BURNT: Final = _Limits(0.3, 0.8)
_LEAST_CONTRAST: Final = 0.01
_LEAST_COLOUR: Final = 0.015
_LEAST_EDGE: Final = 128

_HIGHLIGHT_SHARE: Final = 0.05
_BURNT_LEVEL: Final = 236


@dataclass(frozen=True, slots=True)
class Quality:
    """How good a picture is.

    Attributes:
        sharpness: spread of the Laplacian of the brightness, in grey levels.
        highlight: brightness that only a twentieth of the pixels reaches, 0 (black) to 1 (white).
        burnt: share of the pixels that are nearly white, 0 to 1.
        contrast: spread of the brightness, 0 to 0.5.
        colour: mean distance between a pixel's strongest and weakest channel, 0 to 1.
        flags: what is wrong with it; empty for a good picture.
    """

    sharpness: float
    highlight: float
    burnt: float
    contrast: float
    colour: float
    flags: tuple[QualityFlag, ...]

    @classmethod
    def from_header(cls, header: dict[str, Any]) -> Self:
        """From a decoder's answer, which may be anything.

        Raises:
            KeyError, TypeError, ValueError: it is not what `dataclasses.asdict` makes of a quality.
        """
        return cls(
            sharpness=float(header["sharpness"]),
            highlight=float(header["highlight"]),
            burnt=float(header["burnt"]),
            contrast=float(header["contrast"]),
            colour=float(header["colour"]),
            flags=tuple(QualityFlag(flag) for flag in header["flags"]),
        )


def measure(pixels: npt.NDArray[np.uint8], width: int, height: int) -> Quality:
    """Measure one picture.

    Args:
        pixels: uint8[S, S, 3], RGB, preprocessed.
        width, height: pixels of the picture before preprocessing.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    _, laplacian_spread = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))
    _, spread = cv2.meanStdDev(grey)
    levels = cv2.calcHist([grey], [0], None, [256], [0, 256]).ravel().cumsum() / grey.size
    red, green, blue = cv2.split(pixels)
    strongest, weakest = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
    sharpness = float(laplacian_spread[0, 0])
    highlight = float(np.searchsorted(levels, 1 - _HIGHLIGHT_SHARE)) / 255
    burnt = float(1 - levels[_BURNT_LEVEL - 1])
    contrast = float(spread[0, 0]) / 255
    colour = float(cv2.mean(cv2.subtract(strongest, weakest))[0]) / 255
    found = {
        QualityFlag.BLURRED: sharpness < _BLUR.flagged,
        QualityFlag.TOO_DARK: highlight < _HIGHLIGHT.flagged,
        QualityFlag.TOO_BRIGHT: burnt > _BURNT.flagged,
        QualityFlag.BLANK: contrast < _LEAST_CONTRAST,
        QualityFlag.COLOURLESS: colour < _LEAST_COLOUR,
        QualityFlag.SMALL: min(width, height) < _LEAST_EDGE,
    }
    flags = tuple(flag for flag, applies in found.items() if applies)
    return Quality(sharpness, highlight, burnt, contrast, colour, flags)


def assessable(quality: Quality) -> bool:
    """Whether a model's answer about this picture may be relied upon; the flags say why not."""
    hopeless = (
        quality.sharpness < _BLUR.hopeless,
        quality.highlight < _HIGHLIGHT.hopeless,
        quality.burnt > _BURNT.hopeless,
        QualityFlag.BLANK in quality.flags,
        QualityFlag.COLOURLESS in quality.flags,
    )
    return not any(hopeless)
