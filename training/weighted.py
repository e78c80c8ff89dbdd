"""Figures as functions of what each image counts, for thousands of resamples at once.

Each function here returns a `Statistic`: weights float[R, N] in, one figure for each of the R rows out. With every
weight 1 they give what `training.metrics` and scikit-learn give, which take a second for a hundred resamples.
"""

import numpy as np

from training.intervals import Flags, Statistic
from training.metrics import RELIABILITY_BINS, Floats, Labels, hits


def balanced_accuracy(truth: Labels, scores: Floats) -> Statistic:
    """BMA; a class that a row leaves without weight does not count in it."""
    classes = np.unique(truth)
    of_class = truth[:, None] == classes
    hit = of_class & hits(truth, scores)[:, None]
    masks = np.hstack([hit, of_class]).astype(np.float64)

    def statistic(weights: Floats) -> Floats:
        right, present = np.hsplit(weights @ masks, 2)
        counted = present > 0
        recalls = np.divide(right, present, out=np.zeros_like(right), where=counted)
        return recalls.sum(axis=1) / counted.sum(axis=1)  # type: ignore[no-any-return]

    return statistic


def mean(values: Floats | Flags) -> Statistic:
    """Weighted mean of `values`, [N]: accuracy, coverage, size of a set."""
    return lambda weights: (weights @ values) / weights.sum(axis=1)


def auroc(positive: Flags, score: Floats) -> Statistic:
    """Probability that a positive image scores above a negative one, ties half (Mann-Whitney)."""
    order, first, last = _sorted_groups(score)
    positive = positive[order]

    def statistic(weights: Floats) -> Floats:
        weights = weights[:, order].astype(np.float64)
        positives, negatives = weights * positive, weights * ~positive
        up_to = np.cumsum(negatives, axis=1)
        below = up_to - negatives
        beaten = (positives * (below[:, first] + up_to[:, last])).sum(axis=1) / 2
        return beaten / (positives.sum(axis=1) * up_to[:, -1])  # type: ignore[no-any-return]

    return statistic


def average_precision(positive: Flags, score: Floats) -> Statistic:
    """Area under the precision-recall curve, as the mean precision at each positive (scikit-learn's definition)."""
    order, _, last = _sorted_groups(-score)
    positive = positive[order]

    def statistic(weights: Floats) -> Floats:
        weights = weights[:, order].astype(np.float64)
        positives = weights * positive
        precision = _ratio(np.cumsum(positives, axis=1), np.cumsum(weights, axis=1))
        return (positives * precision[:, last]).sum(axis=1) / positives.sum(axis=1)  # type: ignore[no-any-return]

    return statistic


def specificity_at(sensitivity: float, positive: Flags, score: Floats) -> Statistic:
    """The best specificity among cut-offs that flag at least that share of the positives."""
    order, _, last = _sorted_groups(-score)
    positive = positive[order]

    def statistic(weights: Floats) -> Floats:
        found, alarms = _found_and_alarms(weights[:, order], positive)
        reached = (found[:, last] >= sensitivity - 1e-9).argmax(axis=1)
        rows = np.arange(len(weights))
        return np.where(np.isfinite(found[:, -1]), 1 - alarms[rows, last[reached]], np.nan)

    return statistic


def sensitivity_at(specificity: float, positive: Flags, score: Floats) -> Statistic:
    """The best sensitivity among cut-offs that pass at least that share of the negatives."""
    return specificity_at(specificity, ~positive, -score)  # the same question, asked from the other end


def calibration_error(truth: Labels, probabilities: Floats) -> Statistic:
    """ECE over `RELIABILITY_BINS` bins of equal width of the highest probability; see `metrics.reliability`."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    bins = np.minimum((confidence * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
    gap = np.eye(RELIABILITY_BINS)[bins] * (right - confidence)[:, None]
    return lambda weights: np.abs(weights @ gap).sum(axis=1) / weights.sum(axis=1)


def area_under_risk_coverage(right: Flags, confidence: Floats) -> Statistic:
    """AURC: the share of wrong answers among the most confident, averaged over all shares that could be answered.

    Source: Geifman & El-Yaniv, "Selective classification for deep neural networks" (NeurIPS 2017).
    """
    order, _, last = _sorted_groups(-confidence)
    wrong = ~right[order]

    def statistic(weights: Floats) -> Floats:
        weights = weights[:, order].astype(np.float64)
        risk = _ratio(np.cumsum(weights * wrong, axis=1), np.cumsum(weights, axis=1))
        return (weights * risk[:, last]).sum(axis=1) / weights.sum(axis=1)  # type: ignore[no-any-return]

    return statistic


def _ratio(part: Floats, whole: Floats) -> Floats:
    """0 before the first image that weighs anything."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _sorted_groups(score: Floats) -> tuple[Labels, Labels, Labels]:
    """Ascending order of `score`, and for each place in it the first and the last place with an equal score."""
    order = np.argsort(score, kind="stable")
    ordered = score[order]
    return order, np.searchsorted(ordered, ordered, "left"), np.searchsorted(ordered, ordered, "right") - 1


def _found_and_alarms(weights: Floats, positive: Flags) -> tuple[Floats, Floats]:
    """Sensitivity and false-alarm rate after each place of an order from the most suspicious on."""
    weights = weights.astype(np.float64)
    positives, negatives = np.cumsum(weights * positive, axis=1), np.cumsum(weights * ~positive, axis=1)
    return positives / positives[:, -1:], negatives / negatives[:, -1:]
