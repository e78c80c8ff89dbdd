"""What turns logits into answers, chosen on the calibration side alone.

Every lesion counts once, however many images it has: the natural prior is a frequency of lesions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from dermabatch.artifacts import Conformal, Threshold, Thresholds
from dermabatch.taxonomy import CLASSES, MALIGNANT_INDICES
from dermabatch.triage import calibrated_probabilities
from training.errors import UnusableData
from training.metrics import Floats, Labels, sensitivity_specificity

COVERAGE: Final = 0.9
URGENT_SPECIFICITY: Final = 0.95  # one in twenty lesions that are no melanoma may jump the queue
SOON_SENSITIVITY: Final = 0.95  # one in twenty malignant lesions may be missed by both levels
MELANOMA: Final = CLASSES.index("mel")
TEMPERATURES: Final = (0.1, 10.0)
GOLDEN_RATIO: Final = (5**0.5 - 1) / 2


@dataclass(frozen=True, slots=True)
class Calibration:
    """Everything between the network and its reader. `prior` is the natural one, seven floats with sum 1."""

    prior: tuple[float, ...]
    temperature: float
    conformal: Conformal
    thresholds: Thresholds

    def probabilities(self, logits: Floats) -> npt.NDArray[np.float64]:
        """Calibrated probabilities under the natural prior, float64[N, 7]."""
        return calibrated_probabilities(logits, self.temperature, self.prior)


def calibrate(truth: Labels, logits: Floats, weights: Floats, prior: tuple[float, ...]) -> Calibration:
    """Choose temperature, conformal quantile and thresholds.

    Args:
        truth: class indices, int64[N].
        logits: of the network, for a balanced prior, float32[N, 7].
        weights: what each image counts, float64[N]; see `training.metrics.lesion_weights`.
        prior: natural frequency of each class.
    """
    temperature = fit_temperature(truth, logits, weights, prior)
    probabilities = calibrated_probabilities(logits, temperature, prior)
    urgent = choose_threshold(
        "mel",
        "specificity",
        URGENT_SPECIFICITY,
        positive=truth == MELANOMA,
        score=probabilities[:, MELANOMA],
        weights=weights,
    )
    soon = choose_threshold(
        "malignant",
        "sensitivity",
        SOON_SENSITIVITY,
        positive=np.isin(truth, MALIGNANT_INDICES),
        score=probabilities[:, MALIGNANT_INDICES].sum(axis=1),
        weights=weights,
    )
    quantile = conformal_quantile(truth, probabilities, weights, COVERAGE)
    return Calibration(
        prior,
        temperature,
        Conformal(coverage=COVERAGE, score="1-p", quantile=quantile),
        Thresholds(urgent=urgent, soon=soon),
    )


def fit_temperature(truth: Labels, logits: Floats, weights: Floats, prior: tuple[float, ...]) -> float:
    """The temperature with the least negative log-likelihood under `prior`, between 0.1 and 10.

    Source: Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017). The likelihood has one
    minimum in 1 / temperature, so a golden-section search finds it.
    """

    def loss(log_temperature: float) -> float:
        probabilities = calibrated_probabilities(logits, float(np.exp(log_temperature)), prior)
        own = np.take_along_axis(probabilities, truth[:, None], axis=1)[:, 0]
        return float(np.average(-np.log(np.maximum(own, 1e-12)), weights=weights))

    return float(np.exp(_minimize(loss, *np.log(TEMPERATURES))))


def _minimize(function: Callable[[float], float], low: float, high: float) -> float:
    """Golden-section search for the minimum of a function with one valley, to 1e-6."""
    while high - low > 1e-6:
        left, right = high - GOLDEN_RATIO * (high - low), low + GOLDEN_RATIO * (high - low)
        if function(left) < function(right):
            high = right
        else:
            low = left
    return (low + high) / 2


def conformal_quantile(truth: Labels, probabilities: Floats, weights: Floats, coverage: float) -> float:
    """The smallest q so that `1 - p(true class) <= q` holds for `coverage` of the lesions.

    Split conformal prediction (Angelopoulos & Bates, "A Gentle Introduction to Conformal Prediction", 2021)
    with its correction (n + 1) / n for n lesions.
    """
    surprise = 1 - np.take_along_axis(probabilities, truth[:, None], axis=1)[:, 0]
    order = np.argsort(surprise)
    reached = np.cumsum(weights[order])
    needed = coverage * (reached[-1] + 1)
    position = min(int(np.searchsorted(reached, needed - 1e-9)), len(order) - 1)
    return float(surprise[order[position]])


def choose_threshold(
    on: Literal["mel", "malignant"],
    chosen_for: Literal["sensitivity", "specificity"],
    target: float,
    *,
    positive: npt.NDArray[np.bool_],
    score: Floats,
    weights: Floats,
) -> Threshold:
    """The limit on `score` that just reaches the target, and so gives away the least of the other figure.

    Raises:
        UnusableData: no limit reaches it.
    """
    limits = np.unique(score)
    for limit in limits if chosen_for == "specificity" else limits[::-1]:
        sensitivity, specificity = sensitivity_specificity(positive, score >= limit, weights)
        if {"sensitivity": sensitivity, "specificity": specificity}[chosen_for] >= target:
            return Threshold(
                value=float(limit),
                on=on,
                chosen_for=chosen_for,
                target=target,
                sensitivity=sensitivity,
                specificity=specificity,
            )
    raise UnusableData(
        f"Expected a limit on p({on}) with a {chosen_for} of {target}. The calibration side has none."
    )
