"""The report of a model on lesions it has never met: neither its weights nor its thresholds come from them.

Two readings of the same logits. Decision scores are for a balanced prior, and their argmax is the class:
BMA, the confusion matrix and the AUROC of single classes are counted on them, by the rules of ISIC 2018
Task 3. Calibrated probabilities are for the natural prior: triage, conformal sets and the calibration error
are counted on those, each lesion once.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from dermabatch.artifacts import Metrics
from dermabatch.taxonomy import CLASSES, MALIGNANT_INDICES
from dermabatch.triage import decision_scores
from training import metrics
from training.calibrate import MELANOMA, Calibration
from training.metrics import Floats, Labels

DERMATOLOGISTS_SENSITIVITY = (
    0.866  # mean of 58 readers, Haenssle et al., Annals of Oncology 29 (2018): 1836-1842
)


def evaluate(
    truth: Labels, logits: Floats, lesions: npt.NDArray[np.str_], calibration: Calibration, seed: int
) -> dict[str, Any]:
    """All figures of one test side, ready for JSON.

    Args:
        truth: class indices, int64[N].
        logits: of the network, for a balanced prior, float32[N, 7].
        lesions: lesion of each image, str[N].
        calibration: chosen on other lesions.
        seed: of the bootstrap.
    """
    scores = decision_scores(logits)
    probabilities = calibration.probabilities(logits)
    weights = metrics.lesion_weights(lesions)
    malignant = np.isin(truth, MALIGNANT_INDICES)
    suspicion = probabilities[:, MALIGNANT_INDICES].sum(axis=1)
    classes = {name: _one_class(truth, scores, label) for label, name in enumerate(CLASSES)}
    bins = metrics.reliability(truth, probabilities, weights)
    return {
        "n": len(truth),
        "lesions": len(np.unique(lesions)),
        "bma": metrics.balanced_accuracy(truth, scores),
        "bma_interval": metrics.balanced_accuracy_interval(truth, scores, lesions, seed),
        "accuracy": float(metrics.hits(truth, scores).mean()),
        "macro_auroc": float(np.mean([figures["auroc"] for figures in classes.values()])),
        "melanoma_auroc": classes["mel"]["auroc"],
        "malignant_auroc": metrics.auroc(malignant, suspicion),
        "malignant_specificity_at_86.6_sensitivity": metrics.specificity_at(
            DERMATOLOGISTS_SENSITIVITY, malignant, suspicion
        ),
        "ece": metrics.expected_calibration_error(bins),
        "classes": classes,
        "confusion": metrics.confusion(truth, scores).tolist(),
        "reliability": bins,
        "triage": _triage(truth, probabilities, weights, calibration),
        "conformal": _conformal(truth, scores, probabilities, weights, calibration),
    }


def manifest_metrics(report: dict[str, Any]) -> Metrics:
    """The figures of a report that a manifest carries."""
    figures = {name: report[name] for name in Metrics.model_fields}
    return Metrics(**figures)


def _one_class(truth: Labels, scores: Floats, label: int) -> dict[str, float]:
    positive, called = truth == label, scores.argmax(axis=1) == label
    sensitivity, specificity = metrics.sensitivity_specificity(positive, called)
    return {
        "images": int(positive.sum()),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "auroc": metrics.auroc(positive, scores[:, label]),
    }


def _triage(
    truth: Labels, probabilities: Floats, weights: Floats, calibration: Calibration
) -> dict[str, dict[str, float]]:
    urgent, soon = calibration.thresholds.urgent, calibration.thresholds.soon
    is_urgent = probabilities[:, MELANOMA] >= urgent.value
    flagged = is_urgent | (probabilities[:, MALIGNANT_INDICES].sum(axis=1) >= soon.value)
    melanoma, malignant = truth == MELANOMA, np.isin(truth, MALIGNANT_INDICES)
    return {
        "urgent_for_melanoma": _rates(melanoma, is_urgent, weights),
        "flagged_for_malignant": _rates(malignant, flagged, weights),
        "flagged_for_melanoma": _rates(melanoma, flagged, weights),
    }


def _rates(
    positive: npt.NDArray[np.bool_], flagged: npt.NDArray[np.bool_], weights: Floats
) -> dict[str, float]:
    sensitivity, specificity = metrics.sensitivity_specificity(positive, flagged, weights)
    return {
        "sensitivity": sensitivity,
        "specificity": specificity,
        "share": float(np.average(flagged, weights=weights)),
    }


def _conformal(
    truth: Labels, scores: Floats, probabilities: Floats, weights: Floats, calibration: Calibration
) -> dict[str, float]:
    members = 1 - probabilities <= calibration.conformal.quantile
    members[np.arange(len(truth)), scores.argmax(axis=1)] = True  # as in `dermabatch.triage.assess`
    covered = np.take_along_axis(members, truth[:, None], axis=1)[:, 0]
    return {
        "coverage": float(np.average(covered, weights=weights)),
        "melanoma_coverage": float(
            np.average(covered[truth == MELANOMA], weights=weights[truth == MELANOMA])
        ),
        "mean_size": float(np.average(members.sum(axis=1), weights=weights)),
    }
