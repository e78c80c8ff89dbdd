"""Pictures that are no dermatoscopic images of lesions: from installed packages, or painted here. All uint8 RGB."""

from pathlib import Path

import cv2
import numpy as np
import skimage
from sklearn.datasets import load_sample_image

Picture = np.ndarray

_SKIMAGE = Path(skimage.__file__).parent / "data"


def photographs() -> list[Picture]:
    """A temple, a flower, an astronaut, a cat, a cup, a rocket, a garage."""
    names = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png")
    return [load_sample_image(name) for name in ("china.jpg", "flower.jpg")] + [
        _read(_SKIMAGE / name) for name in names
    ]


def drawings(number: int = 6) -> list[Picture]:
    """Lines, discs and frames in flat colours on paper."""
    random = np.random.default_rng(3)
    return [_drawing(random) for _ in range(number)]


def pages(number: int = 4) -> list[Picture]:
    """Lines of letters on paper that is not quite white."""
    random = np.random.default_rng(4)
    return [_page(random) for _ in range(number)]


def x_rays(number: int = 4) -> list[Picture]:
    """A chest in shades of grey; every second one seen through the bluish base of a film."""
    random = np.random.default_rng(5)
    return [_x_ray(random, tint=(0.75, 0.88, 1) if index % 2 else (1, 1, 1)) for index in range(number)]


def blanks() -> list[Picture]:
    """Black, white, grey, one colour, and nothing but noise."""
    flat = [np.full((300, 400, 3), colour, np.uint8) for colour in (0, 255, 128, (200, 150, 130))]
    return [*flat, np.random.default_rng(6).integers(0, 256, (300, 400, 3), np.uint8)]


def _read(path: Path) -> Picture:
    return cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def _drawing(random: np.random.Generator) -> Picture:
    picture = np.full((450, 600, 3), random.integers(200, 256, 3), np.uint8)
    for _ in range(random.integers(6, 16)):
        start, end = (tuple(int(value) for value in random.integers(0, (600, 450))) for _ in range(2))
        colour, thickness = (
            tuple(int(value) for value in random.integers(0, 256, 3)),
            int(random.integers(2, 6)),
        )
        cv2.line(picture, start, end, colour, thickness, cv2.LINE_AA)
        cv2.circle(picture, start, int(random.integers(10, 60)), colour, -1, cv2.LINE_AA)
        cv2.rectangle(picture, start, end, colour, thickness, cv2.LINE_AA)
    return picture


def _page(random: np.random.Generator) -> Picture:
    picture = np.full((600, 450, 3), (248, 244, 236), np.uint8)
    for height in range(30, 590, 24):
        letters = "".join(random.choice(list("abcdefghijklmnopqrstuvwxyz     "), 60))
        cv2.putText(
            picture, letters, (15, height), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (30, 30, 40), 1, cv2.LINE_AA
        )
    return picture


def _x_ray(random: np.random.Generator, tint: tuple[float, float, float]) -> Picture:
    y, x = np.mgrid[-1:1:450j, -1:1:600j]
    lungs = sum(np.exp(-(((x - side) / 0.25) ** 4) - ((y + 0.05) / 0.6) ** 4) for side in (-0.38, 0.38))
    ribs = sum(
        np.exp(-(((y - rib - 0.7 * (abs(x) - 0.38) ** 2) / 0.025) ** 2)) for rib in np.linspace(-0.7, 0.6, 8)
    )
    body = 0.6 * np.exp(-((2 * x**2 + 0.8 * y**2) ** 2)) + 0.35 * np.exp(-((x / 0.08) ** 2))
    exposure = 255 * random.uniform(0.8, 1.2)
    grey = exposure * (body - 0.35 * lungs + 0.1 * ribs * lungs + random.normal(0, 0.02, x.shape)) + 10
    return np.clip(grey[..., None] * tint, 0, 255).astype(np.uint8)
