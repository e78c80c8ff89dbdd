"""Figures of a classifier, as the clinic and the ISIC 2018 challenge count them. Pure NumPy.

Shapes: `truth` int64[N] holds class indices, `scores` float[N, C] one row an image, `weights` float64[N]
what an image counts (one over the images of its lesion, so that every lesion counts once).
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Counts = npt.NDArray[np.floating[Any] | np.integer[Any]]
Labels = npt.NDArray[np.int64]

RELIABILITY_BINS: Final = 15  # of Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017)
RESAMPLES: Final = 2000


def lesion_weights(lesions: npt.NDArray[np.str_]) -> npt.NDArray[np.float64]:
    """One over the number of images that share a lesion, float64[N]."""
    _, lesion, images = np.unique(lesions, return_inverse=True, return_counts=True)
    return 1 / images[lesion]


def hits(truth: Labels, scores: Floats) -> npt.NDArray[np.bool_]:
    """Where the true class alone has the highest score, bool[N]: the challenge counts a tie as wrong."""
    own = np.take_along_axis(scores, truth[:, None], axis=1)
    unrivalled: npt.NDArray[np.bool_] = (scores >= own).sum(axis=1) == 1
    return unrivalled


def recalls(truth: Labels, scores: Floats, weights: Counts | None = None) -> npt.NDArray[np.float64]:
    """Recall of each class under the argmax, float64[C]; NaN for a class without images."""
    weights = np.ones(len(truth)) if weights is None else weights
    classes = scores.shape[1]
    with np.errstate(invalid="ignore"):
        return np.bincount(truth, weights * hits(truth, scores), classes) / np.bincount(
            truth, weights, classes
        )


def balanced_accuracy(truth: Labels, scores: Floats, weights: Counts | None = None) -> float:
    """Balanced multi-class accuracy (BMA): the mean recall of the classes that occur."""
    return float(np.nanmean(recalls(truth, scores, weights)))


def balanced_accuracy_interval(
    truth: Labels, scores: Floats, lesions: npt.NDArray[np.str_], seed: int
) -> tuple[float, float]:
    """95 % percentile interval of the BMA over resamples of the lesions within each class."""
    random = np.random.default_rng(seed)
    _, lesion = np.unique(lesions, return_inverse=True)
    of_class = [np.unique(lesion[truth == label]) for label in np.unique(truth)]
    values = []
    for _ in range(RESAMPLES):
        drawn = np.concatenate([random.choice(members, len(members)) for members in of_class])
        copies = np.bincount(drawn, minlength=lesion.max() + 1)
        values.append(balanced_accuracy(truth, scores, copies[lesion]))
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


def auroc(positive: npt.NDArray[np.bool_], score: Floats) -> float:
    """Probability that a positive image scores above a negative one, ties half (Mann-Whitney)."""
    _, rank_of, counts = np.unique(score, return_inverse=True, return_counts=True)
    middle_ranks = np.cumsum(counts) - (counts - 1) / 2
    positives, negatives = int(positive.sum()), int((~positive).sum())
    above = middle_ranks[rank_of][positive].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives)) if positives and negatives else float("nan")


def sensitivity_specificity(
    positive: npt.NDArray[np.bool_], flagged: npt.NDArray[np.bool_], weights: Counts | None = None
) -> tuple[float, float]:
    """Share of the positives that are flagged, and of the negatives that are not."""
    weights = np.ones(len(positive)) if weights is None else weights
    flagged_positives = weights[positive & flagged].sum() / weights[positive].sum()
    passed_negatives = weights[~positive & ~flagged].sum() / weights[~positive].sum()
    return float(flagged_positives), float(passed_negatives)


def specificity_at(sensitivity: float, positive: npt.NDArray[np.bool_], score: Floats) -> float:
    """The best specificity among cut-offs that flag at least that share of the positives."""
    ranked = np.sort(score[positive])[::-1]
    needed = int(np.ceil(sensitivity * len(ranked) - 1e-9))
    return float((score[~positive] < ranked[needed - 1]).mean())


def confusion(truth: Labels, scores: Floats) -> npt.NDArray[np.int64]:
    """Images by true class (row) and argmax (column), int64[C, C]."""
    classes = scores.shape[1]
    cells = truth * classes + scores.argmax(axis=1)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def reliability(truth: Labels, probabilities: Floats, weights: Floats) -> list[dict[str, float]]:
    """Filled bins of equal width over the highest probability: its mean, the accuracy, and the share of all
    weight.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    bins = np.minimum((confidence * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
    return [
        {
            "confidence": float(np.average(confidence[inside], weights=weights[inside])),
            "accuracy": float(np.average(right[inside], weights=weights[inside])),
            "share": float(weights[inside].sum() / weights.sum()),
        }
        for inside in (bins == number for number in np.unique(bins))
    ]


def expected_calibration_error(bins: list[dict[str, float]]) -> float:
    """ECE: mean distance of accuracy and confidence over bins of `reliability`, by their share."""
    return sum(part["share"] * abs(part["accuracy"] - part["confidence"]) for part in bins)
