"""Divides a data set by lesion, so that no lesion stands on two sides, with every class spread alike."""

import csv
import hashlib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from dermabatch.taxonomy import CLASSES
from training.data import Pixels, Sample
from training.errors import UnusableData
from training.near_duplicates import Twins, near_duplicates


class Side(StrEnum):
    """What the images of a lesion are for; each lesion has one use."""

    TRAIN = "train"  # the weights
    VALIDATION = "validation"  # the curve of a run, and choices between runs
    CALIBRATION = "calibration"  # temperature, conformal quantile and thresholds
    TEST = "test"  # the report, once
    LEFT_OUT = "left_out"  # nothing: a near-duplicate stands on one of the sides above


SPLIT_SEED: Final = 20180707
"""One division for every run, whatever its own seed, so that models can be compared on the same held-out side."""

SHARES: Final = {Side.TRAIN: 0.72, Side.VALIDATION: 0.08, Side.CALIBRATION: 0.10, Side.TEST: 0.10}

Split = dict[Side, npt.NDArray[np.int64]]
"""Positions in the list of samples, ascending, by side."""


def divide(samples: Sequence[Sample], seed: int, pixels: Pixels) -> tuple[Split, list[Twins]]:
    """The split of a run, and the near-duplicates that were found across its sides.

    It is by lesion, less the lesions of a held-out side that an earlier side knows by a near-duplicate.

    Args:
        pixels: of the samples, uint8[N, AUDIT_SIZE, AUDIT_SIZE, 3].

    Raises:
        UnusableData: a class has too few lesions to stand on every side.
    """
    split = split_by_lesion(samples, seed)
    found = near_duplicates(pixels, sides_of(split))
    return leave_out_near_duplicates(samples, split, found), found


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
    return _positions(samples, side_of)


def leave_out_near_duplicates(samples: Sequence[Sample], split: Split, found: Sequence[Twins]) -> Split:
    """Move to `Side.LEFT_OUT` the lesions that a held-out side shares with an earlier one, by near-duplicates.

    The order of the sides is that of `SHARES`: a test lesion goes for one of training, never the other way round. All
    else stays where it was.

    Args:
        found: see `training.near_duplicates`; chains of them count as one.

    Raises:
        UnusableData: nothing of a class would be left on a side.
    """
    ranks = list(SHARES)
    rank_of = {samples[position].lesion_id: ranks.index(side) for side in SHARES for position in split[side]}
    earliest = dict(rank_of)
    pairs = [(samples[twins.first].lesion_id, samples[twins.second].lesion_id) for twins in found]
    for _ in pairs:  # a chain has at most as many links as there are pairs
        for first, second in pairs:
            earliest[first] = earliest[second] = min(earliest[first], earliest[second])
    audited = _positions(
        samples,
        {
            lesion: ranks[rank] if earliest[lesion] == rank else Side.LEFT_OUT
            for lesion, rank in rank_of.items()
        },
    )
    _check_every_class(samples, audited)
    return audited


def _positions(samples: Sequence[Sample], side_of: Mapping[str, Side]) -> Split:
    sides = np.array([side_of[sample.lesion_id] for sample in samples])
    return {side: np.flatnonzero(sides == side) for side in Side}


def _check_every_class(samples: Sequence[Sample], split: Split) -> None:
    for side in SHARES:
        labels = {samples[position].label for position in split[side]}
        if absent := [name for label, name in enumerate(CLASSES) if label not in labels]:
            raise UnusableData(
                f"The side {side} has no image of {', '.join(absent)} but near-duplicates of images on other sides."
            )


def sides_of(split: Split) -> list[Side]:
    """The side of each sample, in order."""
    return [
        side for _, side in sorted((position, side) for side in split for position in split[side].tolist())
    ]


def split_table(samples: Sequence[Sample], split: Split) -> str:
    """The split as CSV, `image_id,side` in the order of `samples`."""
    lines = [f"{sample.image_id},{side}\n" for sample, side in zip(samples, sides_of(split), strict=True)]
    return "image_id,side\n" + "".join(lines)


def split_digest(table: str) -> str:
    """SHA-256 of the table as a file, as manifests have it."""
    return hashlib.sha256(table.encode()).hexdigest()


def read_split_table(path: Path) -> dict[str, str]:
    """Side by image id, of a table as `split_table` writes it.

    Raises:
        UnusableData: there is no such table.
    """
    if not path.is_file():
        raise UnusableData(f"Expected the table of a split at {path}. Received: no such file.")
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        if not {"image_id", "side"} <= set(reader.fieldnames or ()):
            raise UnusableData(
                f"{path}: expected the columns image_id and side. Received: {reader.fieldnames}"
            )
        return {row["image_id"]: row["side"] for row in reader}
