"""One lesion, many pictures: the eight poses that mean the same, and graded damage that a picture can take.

Everything is done to the preprocessed square, the same way for every image, without chance where a seed would do.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from training.data import Pixels

GRADES: Final = 5
REFERENCE_EDGE: Final = 224
"""Pixels of the edge for which blur and noise are given; at another size blur is as wide a share of the picture."""

POSES: Final = 8


def posed(images: Pixels, pose: int) -> Pixels:
    """All images in one of the eight poses of a square: `pose` // 2 quarter turns, mirrored where it is odd."""
    turned = np.rot90(images, pose // 2, axes=(1, 2))
    return np.ascontiguousarray(turned[:, :, ::-1] if pose % 2 else turned)


def _blurred(image: Pixels, sigma: float) -> Pixels:
    return cv2.GaussianBlur(image, (0, 0), sigma * image.shape[0] / REFERENCE_EDGE)  # type: ignore[return-value]


def _noisy(image: Pixels, spread: float) -> Pixels:
    # The same noise for every image: figures then differ by the lesions alone.
    noise = np.random.default_rng(0).normal(0, spread, image.shape)
    return np.clip(image + noise, 0, 255).round().astype(np.uint8)


def _compressed(image: Pixels, quality: float) -> Pixels:
    written, data = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    assert written
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1]  # type: ignore[index,return-value]


def _scaled(image: Pixels, factor: float) -> Pixels:
    return cv2.convertScaleAbs(image, alpha=factor)  # type: ignore[return-value]


def _rotated(image: Pixels, degrees: float) -> Pixels:
    edge = image.shape[0]
    matrix = cv2.getRotationMatrix2D(((edge - 1) / 2, (edge - 1) / 2), degrees, 1)
    return cv2.warpAffine(image, matrix, (edge, edge), borderMode=cv2.BORDER_REFLECT_101)  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class Damage:
    """Something that happens to pictures, in five grades from mild to severe, and what their numbers mean."""

    do: Callable[[Pixels, float], Pixels]
    strengths: tuple[float, ...]
    unit: str


DAMAGE: Final = {
    "blur": Damage(_blurred, (0.5, 1, 1.5, 2, 3), "pixels, of 224"),
    "noise": Damage(_noisy, (4, 8, 16, 24, 32), "grey levels"),
    "jpeg": Damage(_compressed, (60, 40, 25, 15, 8), "quality"),
    "darker": Damage(_scaled, (0.85, 0.7, 0.55, 0.4, 0.25), "factor"),
    "brighter": Damage(_scaled, (1.1, 1.2, 1.35, 1.5, 1.75), "factor"),
    "rotation": Damage(_rotated, (5, 10, 20, 30, 45), "degrees"),
}


def damaged(images: Pixels, kind: str, grade: int) -> Pixels:
    """All images with one kind of damage; `grade` counts from 0, the mildest."""
    damage = DAMAGE[kind]
    return np.stack([damage.do(image, damage.strengths[grade]) for image in images])
