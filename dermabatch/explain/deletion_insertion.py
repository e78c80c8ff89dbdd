"""Whether a model really uses what an explanation points at: deletion and insertion.

Source: Petsiuk, Das & Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models" (BMVC 2018),
section 4.3. A figure says something only beside those of maps that know nothing of the model. The hard one to beat is
the centre: in dermatoscopic pictures the lesion lies there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from dermabatch.explain.absence import Image, Predict, keep

Saliency = npt.NDArray[np.floating]
"""float[S, S]: how much each pixel speaks for the class; its order counts, not its scale."""

STEPS: Final = 28
"""Per curve; 1,792 pixels of 224 squared at a time. Twice as many move no area by more than 0.01."""

RANDOM_MAPS: Final = 3
RANDOM_CELLS: Final = 7
"""Cells along an edge. As coarse as a class activation map: pixels taken away one by one would be noise, which
no model has seen, and not a part of the lesion that is missing."""

CENTRE_WIDTH: Final = 1 / 4
"""Standard deviation of the centre baseline, as a share of the edge. Only the order of the pixels counts, and that
every width has in common."""

EVALUATIONS: Final = 2 * (STEPS + 1)
"""Pictures that the model is shown to judge one map."""


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """Areas under two curves over the share of pixels touched, as means of the class's score, 0 to 1.

    Attributes:
        deletion: while the picture vanishes, what speaks most for the class first; lower is better.
        insertion: while it appears in the same order; higher is better.
    """

    deletion: float
    insertion: float

    @property
    def gap(self) -> float:
        """Insertion less deletion: one figure to compare two maps of one picture by; higher is better."""
        return self.insertion - self.deletion


def faithfulness(predict: Predict, image: Image, saliency: Saliency, target: int) -> Faithfulness:
    """Judge an explanation by what the model says while the picture is taken away and brought back.

    Args:
        predict: the model.
        image: uint8[S, S, 3].
        saliency: float[S, S]; of two equal pixels the one further up and left comes first.
        target: index of the class.
    """
    first = _first_steps(saliency)
    return Faithfulness(
        deletion=_area(predict(keep(image, ~first))[:, target]),
        insertion=_area(predict(keep(image, first))[:, target]),
    )


def baselines(predict: Predict, image: Image, target: int) -> dict[str, Faithfulness]:
    """What maps come to that know nothing of the model: `random`, the mean of `RANDOM_MAPS`, and `centre`."""
    size = len(image)
    drawn = [faithfulness(predict, image, random_map(size, seed), target) for seed in range(RANDOM_MAPS)]
    return {
        "random": mean(drawn),
        "centre": faithfulness(predict, image, centre_map(size), target),
    }


def mean(judged: Sequence[Faithfulness]) -> Faithfulness:
    """Of each area by itself."""
    return Faithfulness(
        deletion=float(np.mean([one.deletion for one in judged])),
        insertion=float(np.mean([one.insertion for one in judged])),
    )


def random_map(size: int, seed: int) -> Saliency:
    """Smooth noise, float32[size, size]; the same for the same seed."""
    cells = np.random.default_rng(seed).random((RANDOM_CELLS, RANDOM_CELLS), np.float32)
    return cv2.resize(cells, (size, size), interpolation=cv2.INTER_CUBIC)  # type: ignore[return-value]


def centre_map(size: int) -> Saliency:
    """A Gaussian in the middle, float64[size, size]."""
    line = cv2.getGaussianKernel(size, CENTRE_WIDTH * size)
    return line @ line.T


def _first_steps(saliency: Saliency) -> npt.NDArray[np.bool_]:
    """Which pixels come first, bool[STEPS + 1, S, S]: none of them, then ever more, at last all."""
    rank = np.empty(saliency.size, np.int64)
    rank[np.argsort(-saliency, axis=None, kind="stable")] = np.arange(saliency.size)
    limits = np.linspace(0, saliency.size, STEPS + 1)
    return rank.reshape(saliency.shape) < limits[:, None, None]


def _area(scores: npt.NDArray[np.floating]) -> float:
    """By the trapezoid rule over [0, 1]."""
    return float(np.trapezoid(scores, dx=1 / STEPS))
