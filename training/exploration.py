"""What the notebook shows of a data set, as tables; and a painted set for who has none at hand."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import pandas as pd

from dermabatch.imaging.lesion_painting import Kind
from dermabatch.imaging.synthetic import lesion_image
from dermabatch.taxonomy import CLASSES
from training.data import Pixels, Sample

PALETTE: Final = {
    "mel": "#a4161a",
    "bcc": "#e0602f",
    "akiec": "#eda73b",
    "nv": "#1f5fbf",
    "bkl": "#2f9c95",
    "df": "#7b61b8",
    "vasc": "#d16ba5",
}
"""A colour for each class, the malignant ones warm and first: one legend serves every figure."""

_PAINTED: Final[dict[str, tuple[Kind, int]]] = {
    "nv": ("nevus", 60),
    "mel": ("melanoma", 24),
    "bkl": ("keratosis", 22),
    "bcc": ("carcinoma", 16),
    "akiec": ("carcinoma", 12),
    "vasc": ("vascular", 10),
    "df": ("dermatofibroma", 10),
}
"""Which kind is painted for a class, and how many lesions: as uneven as real sets are."""

_AGES: Final = {"nv": 43, "df": 51, "vasc": 51, "mel": 61, "bkl": 64, "bcc": 67, "akiec": 66}
_SITES: Final = ("back", "lower extremity", "trunk", "upper extremity", "abdomen", "face", "chest")
_AGAIN: Final = 4  # lesions under two names; by chance the two stand on one side or on two
_SIZE: Final = (240, 180)  # pixels


def describe(samples: Sequence[Sample]) -> pd.DataFrame:
    """A row for each sample, in order: image, lesion, class, age, sex, site; unknown is missing."""
    frame = pd.DataFrame(
        {
            "image": [sample.image_id for sample in samples],
            "lesion": [sample.lesion_id for sample in samples],
            "class": [CLASSES[sample.label] for sample in samples],
            "age": [sample.age for sample in samples],
            "sex": [sample.sex for sample in samples],
            "site": [sample.localization for sample in samples],
        }
    )
    frame["class"] = pd.Categorical(frame["class"], list(PALETTE), ordered=True)
    frame["age"] = frame["age"].astype(float)
    return frame


def image_statistics(pixels: Pixels) -> pd.DataFrame:
    """A row for each image, of uint8[N, S, S, 3] RGB.

    Columns: `brightness` L*, 0 to 100; `redness` a* and `yellowness` b* of CIELAB; `contrast`, the spread of L*;
    `sharpness`, log10 of the variance of the Laplacian of the grey values.
    """
    rows = []
    for image in pixels:
        lab = cv2.cvtColor(np.asarray(image, np.float32) / 255, cv2.COLOR_RGB2LAB)
        lightness, redness, yellowness = lab.reshape(-1, 3).mean(0)
        grey = cv2.cvtColor(np.asarray(image), cv2.COLOR_RGB2GRAY)
        sharpness = np.log10(cv2.Laplacian(grey, cv2.CV_64F).var() + 1e-3)
        rows.append((lightness, redness, yellowness, lab[..., 0].std(), sharpness))
    return pd.DataFrame(rows, columns=["brightness", "redness", "yellowness", "contrast", "sharpness"])


def write_painted_set(folder: Path, seed: int = 0) -> None:
    """A small set in the layout of HAM10000 into an empty `folder`: 154 painted lesions, some taken twice.

    A few lesions come back under another name, mirrored and recoloured, for the audit to find.
    """
    rng = np.random.default_rng(seed)
    pictures = folder / "HAM10000_images_part_1"
    pictures.mkdir(parents=True)
    rows: list[dict[str, str]] = []

    def add(picture: Pixels, lesion: str, about: dict[str, str]) -> None:
        image = f"ISIC_{len(rows):07}"
        cv2.imwrite(str(pictures / f"{image}.jpg"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        rows.append({"lesion_id": lesion, "image_id": image, **about})

    for dx, (kind, lesions) in _PAINTED.items():
        for number in range(lesions):
            about = _particulars(dx, rng)
            picture = lesion_image(len(rows), width=_SIZE[0], height=_SIZE[1], kind=kind)
            add(picture, f"HAM_{dx}{number:03}", about)
            if rng.random() < 0.25:
                add(np.ascontiguousarray(picture[:, ::-1]), f"HAM_{dx}{number:03}", about)
            if dx == "nv" and number < _AGAIN:
                recoloured = np.clip(picture[::-1] * np.array([1.08, 0.95, 0.9]), 0, 255).astype(np.uint8)
                add(recoloured, f"HAM_again{number}", about)
    with (folder / "HAM10000_metadata.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _particulars(dx: str, rng: np.random.Generator) -> dict[str, str]:
    age = int(np.clip(rng.normal(_AGES[dx], 15), 5, 85) / 5) * 5
    shares = np.roll(np.linspace(7, 1, len(_SITES)), 5 if dx in {"bcc", "akiec"} else 0)
    return {
        "dx": dx,
        "age": str(age) if rng.random() < 0.98 else "",
        "sex": str(rng.choice(["male", "female", "unknown"], p=[0.54, 0.45, 0.01])),
        "localization": str(rng.choice(_SITES, p=shares / shares.sum())),
    }
