"""Figures of a classifier, as the clinic and the ISIC 2018 challenge count them. Intervals: `training.intervals`.

Shapes: `truth` int64[N] holds class indices, `scores` float[N, C] one row an image, `weights` float64[N]
what an image counts (one over the images of its lesion, so that every lesion counts once).
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.metrics import confusion_matrix, roc_auc_score

Floats = npt.NDArray[np.floating[Any]]
Counts = npt.NDArray[np.floating[Any] | np.integer[Any]]
Labels = npt.NDArray[np.int64]

RELIABILITY_BINS: Final = 15  # of Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017)


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


def balanced_log_loss(truth: Labels, logits: Floats) -> float:
    """Mean over the classes of the mean cross-entropy in nats, at the temperature that makes it least.

    It swings less from epoch to epoch than the BMA, and overconfidence, which calibration mends, does not raise it.
    """
    weights = 1 / np.bincount(truth, minlength=logits.shape[1])[truth]
    losses = [
        float(np.average(log_loss(truth, logits / temperature), weights=weights))
        for temperature in np.geomspace(0.25, 4, 41)
    ]
    return min(losses)


def log_loss(truth: Labels, logits: Floats) -> npt.NDArray[np.float64]:
    """Cross-entropy of each image in nats, float64[N]."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    own = np.take_along_axis(shifted, truth[:, None], axis=1)[:, 0]
    losses: npt.NDArray[np.float64] = np.log(np.exp(shifted, dtype=np.float64).sum(axis=1)) - own
    return losses


def auroc(positive: npt.NDArray[np.bool_], score: Floats) -> float:
    """Probability that a positive image scores above a negative one, ties half; NaN where one kind is missing."""
    if positive.all() or not positive.any():
        return float("nan")
    return float(roc_auc_score(positive, score))


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
    labels = range(scores.shape[1])
    return confusion_matrix(truth, scores.argmax(axis=1), labels=labels)  # type: ignore[no-any-return]


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
