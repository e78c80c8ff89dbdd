"""A small data set in the published layout of HAM10000, painted: each class in a colour of its own."""

import csv
from pathlib import Path

import cv2
import numpy as np

from dermabatch.taxonomy import CLASSES

LESIONS_PER_CLASS = 12
EDGE = 40
HUES = dict(zip(CLASSES, (15, 25, 35, 60, 120, 150, 170), strict=True))


def write_painted_lesions(folder: Path) -> None:
    """Twelve lesions of each class, every third of them with two images."""
    (folder / "HAM10000_images_part_1").mkdir()
    rng = np.random.default_rng(4)
    rows = []
    for number, dx in enumerate(CLASSES * LESIONS_PER_CLASS):
        for copy in range(2 if number % 3 == 0 else 1):
            image_id = f"ISIC_{number:05}{copy}"
            rows.append({"lesion_id": f"HAM_{number:05}", "image_id": image_id, "dx": dx, "age": "50.0"})
            path = folder / "HAM10000_images_part_1" / f"{image_id}.jpg"
            cv2.imwrite(str(path), painted(HUES[dx], rng))
    write_metadata(folder, rows)


def painted(hue, rng):
    """uint8[30, 40, 3] BGR: a disc of one hue with a soft border on skin, with noise.

    All discs with a sharp border would be near-duplicates of each other.
    """
    picture = np.full((EDGE * 3 // 4, EDGE, 3), (8, 80, 220), np.uint8)
    centre = tuple(int(value) for value in rng.integers(12, 20, 2))
    cv2.circle(picture, centre, int(rng.integers(7, 11)), (hue, 200, 150), -1)
    picture = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_HSV2BGR), (0, 0), 2)
    return np.clip(picture + rng.normal(0, 8, picture.shape), 0, 255).astype(np.uint8)


def write_metadata(folder, rows):
    with (folder / "HAM10000_metadata.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
