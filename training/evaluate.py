"""The figures of a model on lesions it has never met: neither its weights nor its thresholds come from them.

`training.held_out` says which figures count images and which count lesions. A figure `x` stands beside its 95 %
interval, `x_interval`.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.metrics import precision_recall_curve, roc_curve

from dermabatch.manifest import Metrics
from dermabatch.taxonomy import CLASSES
from dermabatch.triage import Triage, conformal_sets
from training import metrics, weighted
from training.answers import Answers
from training.calibrate import MELANOMA, Calibration
from training.held_out import HeldOut
from training.intervals import Flags, Statistic
from training.metrics import Floats
from training.subgroups import subgroups

# Mean of 58 dermatologists, and the network at their sensitivity, dermatoscopic image only:
# Haenssle et al., "Man against machine", Annals of Oncology 29 (2018): 1836-1842.
DERMATOLOGISTS_SENSITIVITY: Final = 0.866
DERMATOLOGISTS_SPECIFICITY: Final = 0.713
PUBLISHED_NETWORK_SPECIFICITY: Final = 0.825

CURVE_POINTS: Final = 200  # as many as a plot can show


def evaluate(
    answers: Answers, calibration: Calibration, seed: int, abstained: Flags | None = None
) -> dict[str, Any]:
    """All figures that the answers for one held-out side give, ready for JSON.

    Args:
        answers: for lesions that shaped neither weights nor calibration.
        calibration: how the logits are read.
        seed: of the bootstrap.
        abstained: bool[N], where serving says `cannot assess`; None where nobody looked.

    Raises:
        UnusableData: a class has no image.
    """
    side = HeldOut.of(answers, calibration, seed)
    return {
        "n": len(side.truth),
        "lesions": len(np.unique(side.lesions)),
        **headline(side),
        "classes": {name: _one_class(side, label) for label, name in enumerate(CLASSES)},
        "confusion": metrics.confusion(side.truth, side.scores).tolist(),
        "curves": _curves(side),
        "operating_points": _operating_points(side),
        "reliability": metrics.reliability(side.truth, side.probabilities, side.weights),
        "risk_coverage": _risk_coverage(side),
        "triage": _triage(side, calibration, abstained),
        "conformal": _conformal(side, calibration),
        "subgroups": subgroups(side, answers.samples, _flagged(side, calibration)),
    }


def headline(side: HeldOut) -> dict[str, Any]:
    """The figures that two readings of one side are compared by."""
    melanoma = weighted.auroc(side.is_melanoma, side.scores[:, MELANOMA])
    return {
        **side.by_image(weighted.balanced_accuracy(side.truth, side.scores)).named("bma"),
        **side.by_image(weighted.mean(side.called == side.truth)).named("accuracy"),
        **side.by_image(_macro_auroc(side)).named("macro_auroc"),
        **side.by_image(melanoma).named("melanoma_auroc"),
        **side.by_image(weighted.auroc(side.is_malignant, side.suspicion)).named("malignant_auroc"),
        **side.by_lesion(weighted.calibration_error(side.truth, side.probabilities)).named("ece"),
    }


def manifest_metrics(report: dict[str, Any]) -> Metrics:
    """The figures of a report that a manifest carries."""
    figures = {name: report[name] for name in Metrics.model_fields}
    return Metrics(**figures)


def _macro_auroc(side: HeldOut) -> Statistic:
    classes = [weighted.auroc(side.truth == label, side.scores[:, label]) for label in range(len(CLASSES))]
    return lambda weights: np.mean([auroc(weights) for auroc in classes], axis=0)


def _one_class(side: HeldOut, label: int) -> dict[str, Any]:
    """One class against the six others; predictive values hold at its share of this side."""
    positive, called, score = side.truth == label, side.called == label, side.scores[:, label]
    return {
        "images": int(positive.sum()),
        "lesions": side.lesion_count(positive),
        **side.image_rate(called, positive).named("sensitivity"),
        **side.image_rate(~called, ~positive).named("specificity"),
        **side.image_rate(positive, called).named("ppv"),
        **side.image_rate(~positive, ~called).named("npv"),
        **side.by_image(weighted.auroc(positive, score)).named("auroc"),
        **side.by_image(weighted.average_precision(positive, score)).named("average_precision"),
    }


def _curves(side: HeldOut) -> dict[str, Any]:
    """ROC and precision-recall curves of each class, and of malignant against benign."""
    curves = {name: _curve(side.truth == label, side.scores[:, label]) for label, name in enumerate(CLASSES)}
    return {**curves, "malignant": _curve(side.is_malignant, side.suspicion)}


def _curve(positive: Flags, score: Floats) -> dict[str, list[float]]:
    false_positive_rate, sensitivity, _ = roc_curve(positive, score)
    precision, recall, _ = precision_recall_curve(positive, score, drop_intermediate=True)
    return {
        "false_positive_rate": _thinned(false_positive_rate),
        "sensitivity": _thinned(sensitivity),
        "precision": _thinned(precision),
        "recall": _thinned(recall),
    }


def _thinned(values: npt.NDArray[np.floating[Any]]) -> list[float]:
    kept = np.unique(np.linspace(0, len(values) - 1, CURVE_POINTS).round().astype(int))
    return np.asarray(values[kept]).round(4).tolist()  # type: ignore[no-any-return]


def _operating_points(side: HeldOut) -> dict[str, Any]:
    """Malignant against benign, where dermatologists have been measured."""
    specificity = weighted.specificity_at(DERMATOLOGISTS_SENSITIVITY, side.is_malignant, side.suspicion)
    sensitivity = weighted.sensitivity_at(DERMATOLOGISTS_SPECIFICITY, side.is_malignant, side.suspicion)
    return {
        **side.by_image(specificity).named("specificity_at_86.6_sensitivity"),
        **side.by_image(sensitivity).named("sensitivity_at_71.3_specificity"),
    }


def _risk_coverage(side: HeldOut) -> dict[str, Any]:
    """What abstaining from the least certain answers would gain."""
    right = side.probabilities.argmax(axis=1) == side.truth
    confidence = side.probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    answered = np.cumsum(side.weights[order])
    risk = np.cumsum(side.weights[order] * ~right[order]) / answered
    return {
        **side.by_lesion(weighted.area_under_risk_coverage(right, confidence)).named("aurc"),
        "coverage": _thinned(answered / answered[-1]),
        "risk": _thinned(risk),
    }


def _flagged(side: HeldOut, calibration: Calibration) -> Flags:
    """Where a level at least `soon` is reached, bool[N]."""
    return _is_urgent(side, calibration) | (side.suspicion >= calibration.thresholds.soon.value)


def _is_urgent(side: HeldOut, calibration: Calibration) -> Flags:
    return side.probabilities[:, MELANOMA] >= calibration.thresholds.urgent.value


def _triage(side: HeldOut, calibration: Calibration, abstained: Flags | None) -> dict[str, Any]:
    urgent, flagged = _is_urgent(side, calibration), _flagged(side, calibration)
    return {
        "thresholds": calibration.thresholds.model_dump(),
        "urgent_for_melanoma": _rates(side, side.is_melanoma, urgent),
        "flagged_for_melanoma": _rates(side, side.is_melanoma, flagged),
        "flagged_for_malignant": _rates(side, side.is_malignant, flagged),
        "levels": _levels(side, urgent, flagged, np.zeros_like(urgent) if abstained is None else abstained),
        "abstention_measured": abstained is not None,
    }


def _rates(side: HeldOut, positive: Flags, flagged: Flags) -> dict[str, Any]:
    """Each lesion counts once; predictive values hold at this side's prevalence."""
    everything = np.ones(len(positive), bool)
    return {
        **side.lesion_rate(flagged, positive).named("sensitivity"),
        **side.lesion_rate(~flagged, ~positive).named("specificity"),
        **side.lesion_rate(positive, flagged).named("ppv"),
        **side.lesion_rate(~positive, ~flagged).named("npv"),
        **side.lesion_rate(flagged, everything).named("share"),
        **side.lesion_rate(positive, everything).named("prevalence"),
    }


def _levels(side: HeldOut, urgent: Flags, flagged: Flags, abstained: Flags) -> dict[str, dict[str, int]]:
    """Lesions by level and kind; a lesion stands where its most pressing image stands, as in the worklist."""
    levels = {
        Triage.URGENT: urgent,
        Triage.CANNOT_ASSESS: abstained & ~urgent,
        Triage.SOON: flagged & ~urgent & ~abstained,
        Triage.NOT_FLAGGED: ~flagged & ~abstained,
    }
    kinds = {
        "melanoma": side.is_melanoma,
        "other_malignant": side.is_malignant & ~side.is_melanoma,
        "benign": ~side.is_malignant,
    }
    table: dict[str, dict[str, int]] = {}
    settled = np.zeros(0, side.lesions.dtype)
    for level, stands in levels.items():  # the most pressing first
        here = np.setdiff1d(side.lesions[stands], settled)
        settled = np.union1d(settled, here)
        table[level.value] = {
            kind: side.lesion_count(of_kind & np.isin(side.lesions, here)) for kind, of_kind in kinds.items()
        }
    return table


def _conformal(side: HeldOut, calibration: Calibration) -> dict[str, Any]:
    members = conformal_sets(side.scores, side.probabilities, calibration.conformal)
    covered = np.take_along_axis(members, side.truth[:, None], axis=1)[:, 0]
    size = members.sum(axis=1)
    everything = np.ones(len(covered), bool)
    return {
        "aim": calibration.conformal.coverage,
        "quantiles": dict(zip(CLASSES, calibration.conformal.quantiles, strict=True)),
        **side.lesion_rate(covered, everything).named("coverage"),
        **side.lesion_rate(covered, side.is_melanoma).named("melanoma_coverage"),
        **side.by_lesion(weighted.mean(size.astype(float))).named("mean_size"),
        "melanoma_mean_size": float(
            np.average(size[side.is_melanoma], weights=side.weights[side.is_melanoma])
        ),
        "size_shares": [
            float(np.average(size == count, weights=side.weights)) for count in range(1, len(CLASSES) + 1)
        ],
        "coverage_by_class": {
            name: side.lesion_rate(covered, side.truth == label).named("coverage")
            for label, name in enumerate(CLASSES)
        },
    }
