"""What stands where a part of a picture is taken away. One meaning serves LIME, SHAP and the judging of all methods."""

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
"""uint8[S, S, 3], RGB, preprocessed; with one more axis in front where there are N of them."""

Mask = npt.NDArray[np.bool_]

Predict = Callable[[Image], npt.NDArray[np.floating]]
"""From uint8[N, S, S, 3] to scores float[N, 7]: a model on any engine."""

BLUR: Final = 1 / 8
"""Standard deviation of the Gaussian, as a share of the edge. Measured with the shipped model on 77 validation images
of all classes: the mean score of the class falls from 0.75 to 0.15, which is chance; with 1/45, the blur of RISE, to
0.27. A grey or black area instead would be a lesion of its own to a network that looks for dark spots on skin."""


def absent(image: Image) -> Image:
    """The picture with nothing left of it but its large-scale colour, uint8[S, S, 3]."""
    return cv2.GaussianBlur(image, (0, 0), BLUR * len(image), borderType=cv2.BORDER_REPLICATE)  # type: ignore[return-value]


def keep(image: Image, kept: Mask) -> Image:
    """N versions of `image`, uint8[N, S, S, 3], each with only the pixels that its mask of bool[N, S, S] keeps."""
    versions: Image = np.where(kept[..., None], image, absent(image))
    return versions
