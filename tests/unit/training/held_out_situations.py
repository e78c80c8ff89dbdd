"""Answers of a model that nobody trained: every class, several images of some lesions, gaps in what is known."""

from pathlib import Path

import numpy as np

from dermabatch.manifest import Conformal, ConformalGroup, Threshold, Thresholds
from dermabatch.taxonomy import CLASSES
from training.answers import Answers
from training.calibrate import Calibration
from training.data import Sample

SITES = ("back", "face", None, "lower extremity")


def answers(images=420, skill=2.0, seed=3):
    """Two images of every third lesion; right more often than not where `skill` is over 0."""
    random = np.random.default_rng(seed)
    lesion = np.cumsum(np.arange(images) % 4 != 1)
    label = random.choice(7, lesion.max() + 1, p=(0.06, 0.08, 0.1, 0.05, 0.14, 0.52, 0.05))[lesion]
    samples = [
        Sample(
            f"ISIC_{number:07}",
            f"HAM_{lesion[number]:07}",
            int(label[number]),
            Path(f"ISIC_{number:07}.jpg"),
            age=None if number % 17 == 0 else float(20 + lesion[number] % 65),
            sex=("male", "female", None)[lesion[number] % 3],
            localization=SITES[lesion[number] % 4],
        )
        for number in range(images)
    ]
    logits = random.normal(0, 1, (images, len(CLASSES))) + skill * np.eye(len(CLASSES))[label]
    return Answers(samples, logits.astype(np.float32), np.zeros((images, 4), np.float32))


def calibration():
    """As `training.calibrate` could have chosen it."""
    chosen = {"sensitivity": 0.9, "specificity": 0.9}
    return Calibration(
        prior=(0.06, 0.08, 0.1, 0.05, 0.14, 0.52, 0.05),
        temperature=1.1,
        conformal=Conformal(
            coverage=0.9,
            score="1-p",
            groups=(
                ConformalGroup(classes=("mel",), quantile=0.9, lesions=40),
                ConformalGroup(
                    classes=("akiec", "bcc", "bkl", "df", "nv", "vasc"), quantile=0.8, lesions=270
                ),
            ),
        ),
        thresholds=Thresholds(
            urgent=Threshold(value=0.4, on="mel", chosen_for="specificity", target=0.95, **chosen),
            soon=Threshold(value=0.15, on="malignant", chosen_for="sensitivity", target=0.95, **chosen),
        ),
    )
