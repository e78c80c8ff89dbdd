"""THE preprocessing: one function for training and serving, so that the two cannot drift apart."""

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

PREPROCESSING_VERSION: Final = "squash-area-1"
"""Written into every manifest and prediction. Any change of `preprocess` needs a new name."""


def preprocess(rgb: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """Scale a picture to the square that a network takes.

    The whole field of view is kept: a 4:3 picture is squashed, not cropped, because lesions reach the edge.

    Args:
        rgb: uint8[H, W, 3], RGB, 0 to 255.
        size: edge of the square in pixels.

    Returns:
        uint8[size, size, 3]; `rgb` itself where it already fits.
    """
    height, width = rgb.shape[:2]
    if (height, width) == (size, size):
        return rgb
    shrinking = height * width > size * size
    # INTER_AREA averages all source pixels of a target pixel; sampling filters alias fine pigment networks.
    return cv2.resize(rgb, (size, size), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC)  # type: ignore[return-value]
