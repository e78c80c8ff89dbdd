"""What a decoder makes of a picture."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dermabatch.imaging.quality import Quality


@dataclass(frozen=True, slots=True)
class Decoded:
    """A picture as the network and the worklist need it.

    Attributes:
        pixels: uint8[size, size, 3], RGB, preprocessed.
        width, height: pixels of the upright picture before preprocessing.
        quality: measured on `pixels`.
        thumbnail: JPEG, longest edge 96 pixels, aspect kept.
    """

    pixels: npt.NDArray[np.uint8]
    width: int
    height: int
    quality: Quality
    thumbnail: bytes
