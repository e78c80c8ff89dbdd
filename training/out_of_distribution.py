"""Learns what lesions look like to a network, and which strangeness is too much.

The space comes from the training side, which has most lesions, the limit from the calibration side: a network knows
the pictures it was trained on better than any other, so a limit from those would turn away too many.
"""

from typing import Final

import numpy as np

from dermabatch.manifest import OutOfDistribution
from dermabatch.out_of_distribution import Detector, unit
from training.answers import Answers
from training.calibrate import lesion_quantile

DIRECTIONS: Final = 0.1
"""As a share of the numbers of an embedding. Of the 1,280 of EfficientNet-Lite0, 64 to 384 do equally well; with 32 a
picture like an X-ray can slip through."""
LARGEST: Final = 2.0
"""Distance of the farthest points of the unit sphere."""

KEPT: Final = 0.99
"""One lesion in a hundred is shown to a person for nothing. At 0.98 a few more details of photographs are found."""


def fit_detector(training: Answers) -> Detector:
    """Mean and first principal directions of the unit embeddings, each lesion counted once."""
    embedding, weights = unit(training.embedding), training.weights / training.weights.sum()
    mean = weights @ embedding
    offset = embedding - mean
    _, directions = np.linalg.eigh((offset.T * weights) @ offset)  # ascending
    first = directions[:, ::-1][:, : round(DIRECTIONS * len(mean))]
    return Detector(mean.astype(np.float32), np.ascontiguousarray(first, np.float32))


def choose_limit(detector: Detector, calibrating: Answers) -> OutOfDistribution:
    """The strangeness that a new lesion of the same kind stays below with probability `KEPT`."""
    strangeness = detector.strangeness(calibrating.embedding)
    return OutOfDistribution(
        score="unit-residual",
        threshold=lesion_quantile(strangeness, calibrating.weights, KEPT, largest=LARGEST),
        kept=KEPT,
        lesions=len(np.unique(calibrating.lesions)),
    )
