"""Where a network looked: from its class activation maps to grids that are stored and heat maps that are shown.

Free of frameworks, so that the portal can draw. The maps themselves come with every inference.
"""

from typing import Any, Final, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

Grid = TypeVar("Grid", bound=npt.NDArray[Any])

HEAT_MAP_EDGE: Final = 224
"""Pixels. The browser stretches the square over the picture, as preprocessing squashed the picture into one."""


def saliency_grids(cam: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """What speaks for each class and where, small enough to keep for every image.

    One scale serves all classes of an image, so that the map of a class with little evidence stays pale. Evidence
    against a class is left out, as in Grad-CAM (Selvaraju et al., 2017).

    Args:
        cam: float32[..., h, w, 7], class activation maps of one or more images.

    Returns:
        uint8[..., h, w, 7]: 0 for nothing or less, 255 for the strongest evidence in the image.
    """
    evidence = np.maximum(cam, 0)
    strongest = evidence.max(axis=(-3, -2, -1), keepdims=True)
    scale = np.divide(255, strongest, out=np.zeros_like(strongest), where=strongest > 0)
    grids: npt.NDArray[np.uint8] = np.rint(evidence * scale).astype(np.uint8)
    return grids


def heat_map(grid: npt.NDArray[np.uint8]) -> bytes:
    """A see-through PNG to lie over the picture: no evidence is clear, more is more opaque and brighter.

    Args:
        grid: uint8[h, w], the grid of one class.

    Returns:
        RGBA PNG of `HEAT_MAP_EDGE` squared, in a colour scale of even perceived steps (viridis), which reads for
        the colour-blind and stands out from skin.
    """
    # Upscaled before it is coloured: between two colours of a scale lies no third one of it.
    smooth = upscaled(grid, HEAT_MAP_EDGE)
    picture = cv2.cvtColor(cv2.applyColorMap(smooth, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2BGRA)
    picture[..., 3] = smooth
    written, encoded = cv2.imencode(".png", picture)
    assert written
    return encoded.tobytes()


def upscaled(grid: Grid, edge: int) -> Grid:
    """The grid [h, w] as a smooth [edge, edge] of the same type, each cell on its own tile of the picture."""
    return cv2.resize(grid, (edge, edge), interpolation=cv2.INTER_CUBIC)  # type: ignore[return-value]
