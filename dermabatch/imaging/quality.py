"""Is a picture good enough to be judged? Measured on the very pixels that the network sees.

The limits were chosen on the 10,015 pictures of HAM10000 at 224 x 224: 0.4 % of them get a flag, none is hopeless.
What the limits find in 400 of these pictures once they are spoiled (blur: Gaussian of so many pixels; moved: by so
many pixels, any direction; light: every value multiplied; grain: normal noise of so many grey levels):

| spoiled by | flagged | hopeless |   | spoiled by | flagged | hopeless |
|------------|---------|----------|---|------------|---------|----------|
| blur 1     |    30 % |    0.7 % |   | light 0.4  |    74 % |      7 % |
| blur 2     |    99 % |     78 % |   | light 0.3  |   100 % |     88 % |
| blur 3     |   100 % |     99 % |   | light 0.25 |   100 % |    100 % |
| moved 5    |    46 % |      6 % |   | light 1.5  |    67 % |     25 % |
| moved 9    |    93 % |     40 % |   | light 2    |    97 % |     75 % |
| moved 15   |    99 % |     80 % |   | light 3    |   100 % |     94 % |
| grain 5    |   0.5 % |      0 % |   | grain 16   |   100 % |    100 % |
| grain 10   |   100 % |      0 % |   | turned     |   0.7 % |      0 % |

Beyond the hopeless limits the first model missed malignant lesions: of those it flagged in good pictures it still
flagged 82 % at grain 10 and 36 % at grain 20, 89 % at light 0.5 and 27 % at light 0.3, 82 % moved by 15.

Darkness is read from the brightest twentieth of a picture, not from its mean, so that dark skin in good light is
not taken for bad light.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self

import cv2
import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.uint8]


class QualityFlag(StrEnum):
    """What is wrong with a picture; reads well after "the picture is"."""

    BLURRED = "blurred"  # out of focus or moved
    TOO_DARK = "too_dark"  # even its brightest parts are dark
    TOO_BRIGHT = "too_bright"  # much of it is burnt out
    NOISY = "noisy"  # grainy all over, as from too little light
    BLANK = "blank"  # one even surface, such as a covered or a lifted lens
    COLOURLESS = "colourless"  # shades of grey; the network has only seen colour
    SMALL = "small"  # fewer pixels than the network looks at


@dataclass(frozen=True, slots=True)
class _Limits:
    """Where a flag begins, and where a picture becomes hopeless."""

    flagged: float
    hopeless: float


_SHARPNESS: Final = _Limits(1.15, 0.85)
_HIGHLIGHT: Final = _Limits(0.3, 0.24)
_BURNT: Final = _Limits(0.3, 0.7)
_NOISE: Final = _Limits(5, 8)
_LEAST_CONTRAST: Final = 0.01
_LEAST_COLOUR: Final = 0.015
_LEAST_EDGE: Final = 128

_EDGE: Final = 224
"""Everything is measured at this size, so that the limits hold for networks of any input size."""
_HIGHLIGHT_SHARE: Final = 0.05
_BURNT_LEVEL: Final = 236

_STEP: Final = np.array([1, -2, 1], np.float32)
_DIAGONAL: Final = np.diag(_STEP)


@dataclass(frozen=True, slots=True)
class Quality:
    """How good a picture is.

    Attributes:
        sharpness: spread of the second difference of the brightness, in grey levels, in the one of four directions in
            which it is least: a movement blurs along its own direction alone.
        highlight: brightness that only a twentieth of the pixels reaches, 0 (black) to 1 (white).
        burnt: share of the pixels that are nearly white, 0 to 1.
        noise: standard deviation of grain, in grey levels; hair and texture count for a little.
        contrast: spread of the brightness, 0 to 0.5.
        colour: mean distance between a pixel's strongest and weakest channel, 0 to 1.
        flags: what is wrong with it; empty for a good picture.
    """

    sharpness: float
    highlight: float
    burnt: float
    noise: float
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
            noise=float(header["noise"]),
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
    if len(pixels) != _EDGE:
        pixels = cv2.resize(pixels, (_EDGE, _EDGE), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    grey: Grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)  # type: ignore[assignment]
    _, spread = cv2.meanStdDev(grey)
    levels = cv2.calcHist([grey], [0], None, [256], [0, 256]).ravel().cumsum() / grey.size
    red, green, blue = cv2.split(pixels)
    strongest, weakest = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
    sharpness = _sharpness(grey)
    highlight = float(np.searchsorted(levels, 1 - _HIGHLIGHT_SHARE)) / 255
    burnt = float(1 - levels[_BURNT_LEVEL - 1])
    noise = _noise(grey)
    contrast = float(spread[0, 0]) / 255
    colour = float(cv2.mean(cv2.subtract(strongest, weakest))[0]) / 255
    found = {
        QualityFlag.BLURRED: sharpness < _SHARPNESS.flagged,
        QualityFlag.TOO_DARK: highlight < _HIGHLIGHT.flagged,
        QualityFlag.TOO_BRIGHT: burnt > _BURNT.flagged,
        QualityFlag.NOISY: noise > _NOISE.flagged,
        QualityFlag.BLANK: contrast < _LEAST_CONTRAST,
        QualityFlag.COLOURLESS: colour < _LEAST_COLOUR,
        QualityFlag.SMALL: min(width, height) < _LEAST_EDGE,
    }
    flags = tuple(flag for flag, applies in found.items() if applies)
    return Quality(sharpness, highlight, burnt, noise, contrast, colour, flags)


def _sharpness(grey: Grey) -> float:
    rows, columns = (cv2.Sobel(grey, cv2.CV_16S, *order, ksize=1) for order in ((2, 0), (0, 2)))
    falling, rising = (cv2.filter2D(grey, cv2.CV_16S, kernel) for kernel in (_DIAGONAL, _DIAGONAL[::-1]))
    # Their means are nothing, so that the norm gives the spread. A diagonal step is longer.
    spreads = [cv2.norm(rows), cv2.norm(columns), cv2.norm(falling) / 2**0.5, cv2.norm(rising) / 2**0.5]
    return min(spreads) / _EDGE


def _noise(grey: Grey) -> float:
    """Edges along rows and columns cancel. Immerkaer, "Fast Noise Variance Estimation" (CVIU 64, 1996)."""
    grain = cv2.sepFilter2D(grey, cv2.CV_16S, _STEP, _STEP)
    return float((np.pi / 2) ** 0.5 / 6 * cv2.norm(grain, cv2.NORM_L1) / grey.size)


def assessable(quality: Quality) -> bool:
    """Whether a model's answer about this picture may be relied upon; the flags say why not."""
    hopeless = (
        quality.sharpness < _SHARPNESS.hopeless,
        quality.highlight < _HIGHLIGHT.hopeless,
        quality.burnt > _BURNT.hopeless,
        quality.noise > _NOISE.hopeless,
        QualityFlag.BLANK in quality.flags,
        QualityFlag.COLOURLESS in quality.flags,
    )
    return not any(hopeless)
