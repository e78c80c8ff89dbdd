"""Situations of training: a small data set in the published layout, painted here."""

import csv

import cv2
import numpy as np
import pytest

from dermabatch.taxonomy import CLASSES
from training.train import compute_reproducibly

compute_reproducibly()  # at import: later, another test may have made TensorFlow compute already

LESIONS_PER_CLASS = 12
EDGE = 40
HUES = dict(zip(CLASSES, (15, 25, 35, 60, 120, 150, 170), strict=True))


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    """Twelve lesions of each class, every third of them with two images, each class in a colour of its own."""
    folder = tmp_path_factory.mktemp("dataset")
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
    return folder


def painted(hue, rng):
    """uint8[30, 40, 3] BGR: a disc of one hue on skin, with noise."""
    picture = np.full((EDGE * 3 // 4, EDGE, 3), (8, 80, 220), np.uint8)
    centre = tuple(int(value) for value in rng.integers(12, 20, 2))
    cv2.circle(picture, centre, int(rng.integers(7, 11)), (hue, 200, 150), -1)
    picture = cv2.cvtColor(picture, cv2.COLOR_HSV2BGR)
    return np.clip(picture + rng.normal(0, 8, picture.shape), 0, 255).astype(np.uint8)


def write_metadata(folder, rows):
    with (folder / "HAM10000_metadata.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
