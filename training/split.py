"""Divides a data set by lesion, so that no lesion stands on two sides, with every class spread alike."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from dermabatch.taxonomy import CLASSES
from training.data import Sample
from training.errors import UnusableData


class Side(StrEnum):
    """What the images of a lesion are for; each lesion has one use."""

    TRAIN = "train"  # the weights
    VALIDATION = "validation"  # the curve of a run, and choices between runs
    CALIBRATION = "calibration"  # temperature, conformal quantile and thresholds
    TEST = "test"  # the report, once


SHARES: Final = {Side.TRAIN: 0.72, Side.VALIDATION: 0.08, Side.CALIBRATION: 0.10, Side.TEST: 0.10}

Split = dict[Side, npt.NDArray[np.int64]]
"""Positions in the list of samples, ascending, by side."""


def split_by_lesion(samples: Sequence[Sample], seed: int) -> Split:
    """Deal the lesions of each class, shuffled by `seed`, to the sides in their shares.

    Raises:
        UnusableData: a class has too few lesions to stand on every side.
    """
    random = np.random.default_rng(seed)
    side_of: dict[str, Side] = {}
    for label, name in enumerate(CLASSES):
        lesions = sorted({sample.lesion_id for sample in samples if sample.label == label})
        bounds = np.round(np.cumsum(list(SHARES.values())) * len(lesions)).astype(int)
        if len(set(bounds.tolist()) | {0}) <= len(SHARES):
            raise UnusableData(
                f"The class {name} has {len(lesions)} lesions: too few for each of {', '.join(SHARES)}."
            )
        for side, part in zip(SHARES, np.split(random.permutation(lesions), bounds[:-1]), strict=True):
            side_of.update(dict.fromkeys(part.tolist(), side))
    sides = np.array([side_of[sample.lesion_id] for sample in samples])
    return {side: np.flatnonzero(sides == side) for side in SHARES}


def split_table(samples: Sequence[Sample], split: Split) -> str:
    """The split as CSV, `image_id,side` in the order of `samples`."""
    side_of = {int(position): side for side, positions in split.items() for position in positions}
    lines = [f"{sample.image_id},{side_of[position]}\n" for position, sample in enumerate(samples)]
    return "image_id,side\n" + "".join(lines)
