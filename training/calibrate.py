"""What turns logits into answers, chosen on the calibration side alone.

Every lesion counts once, however many images it has: the natural prior is a frequency of lesions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from dermabatch.manifest import Conformal, ConformalGroup, Threshold, Thresholds
from dermabatch.taxonomy import CLASSES, MALIGNANT_INDICES
from dermabatch.triage import calibrated_probabilities, decision_scores
from training.answers import Answers
from training.errors import UnusableData
from training.metrics import Floats, Labels, sensitivity_specificity

COVERAGE: Final = 0.9
CONFORMAL_GROUPS: Final = (("mel",), ("akiec", "bcc"), ("bkl", "df", "nv", "vasc"))
"""Melanomas, other malignant and benign lesions get the coverage each; over all lesions alone the frequent nevi would
get it, and two of three melanomas. A class by itself would need nine calibration lesions to promise anything."""
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


def calibrate(answers: Answers, prior: tuple[float, ...]) -> Calibration:
    """Choose temperature, conformal quantiles and thresholds.

    Args:
        answers: for the calibration side.
        prior: natural frequency of each class.

    Raises:
        UnusableData: no threshold reaches its target.
    """
    truth, logits, weights = answers.truth, answers.logits, answers.weights
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
    conformal = choose_sets(truth, decision_scores(logits), probabilities, weights)
    return Calibration(prior, temperature, conformal, Thresholds(urgent=urgent, soon=soon))


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


def choose_sets(truth: Labels, scores: Floats, probabilities: Floats, weights: Floats) -> Conformal:
    """The quantile of each group of classes that covers `COVERAGE` of its lesions.

    Split conformal prediction, label-conditional by groups: Vovk, Gammerman & Shafer, "Algorithmic Learning in a
    Random World" (2005), section 4.5. A lesion costs nothing where its class is the one shown, float[N, 7]'s argmax,
    which is in every set.
    """
    surprise = 1 - np.take_along_axis(probabilities, truth[:, None], axis=1)[:, 0]
    surprise = np.where(scores.argmax(axis=1) == truth, 0, surprise)

    def one_group(classes: tuple[str, ...]) -> ConformalGroup:
        own = np.isin(truth, [CLASSES.index(code) for code in classes])
        return ConformalGroup(
            classes=classes,
            quantile=lesion_quantile(surprise[own], weights[own], COVERAGE, largest=1.0),
            lesions=round(weights[own].sum()),
        )

    return Conformal(coverage=COVERAGE, score="1-p", groups=tuple(map(one_group, CONFORMAL_GROUPS)))


def lesion_quantile(values: Floats, weights: Floats, share: float, *, largest: float) -> float:
    """What an image of another such lesion stays at or below with a probability of at least `share`.

    The conformal quantile with its correction (n + 1) / n for n lesions; where a lesion has several images, each
    counts its part: Lee, Barber & Willett, "Distribution-free inference with hierarchical data" (2023).

    Args:
        values: float[N].
        weights: what each image counts, float64[N].
        share: of the lesions.
        largest: value that there can be; the answer where so few lesions allow no other.
    """
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    position = int(np.searchsorted(reached, share * (weights.sum() + 1) - 1e-9))
    return float(values[order[position]]) if position < len(order) else largest


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
