"""How far a later test may lie from what calibration promises: the calibration side has few of the lesions that matter.

A promise holds on average over calibration sides. The one at hand may have been lucky.
"""

from typing import Any, Final

import numpy as np
from scipy.stats import beta

from dermabatch.manifest import Threshold
from dermabatch.taxonomy import CLASSES, MALIGNANT_INDICES
from training.answers import Answers
from training.calibrate import Calibration
from training.intervals import wilson

USUAL: Final = 0.9
"""Share of calibration sides that the ranges of coverage speak of."""


def promises(calibration: Calibration, calibrating: Answers) -> dict[str, Any]:
    """What sets and thresholds promise, on how many lesions, and how sure that is; ready for JSON."""
    conformal, thresholds = calibration.conformal, calibration.thresholds
    return {
        "lesions": len(np.unique(calibrating.lesions)),
        "sets": [
            {
                "classes": group.classes,
                "lesions": group.lesions,
                "coverage": conformal.coverage,
                "coverage_range": coverage_range(group.lesions, conformal.coverage),
            }
            for group in conformal.groups
        ],
        "thresholds": {
            "urgent": _rates(thresholds.urgent, calibrating, (CLASSES.index("mel"),)),
            "soon": _rates(thresholds.soon, calibrating, MALIGNANT_INDICES),
        },
    }


def coverage_range(lesions: int, coverage: float) -> tuple[float, float]:
    """Where the coverage of further lesions lies for nine of ten calibration sides with so many lesions.

    Exact for scores without ties: Beta(k, n + 1 - k) with k = ceil((n + 1) coverage); Vovk, "Conditional validity of
    inductive conformal predictors" (2012).
    """
    rank = int(np.ceil((lesions + 1) * coverage - 1e-9))
    if rank > lesions:
        return 1.0, 1.0  # the set holds every class of the group
    low, high = beta.ppf(((1 - USUAL) / 2, (1 + USUAL) / 2), rank, lesions + 1 - rank)
    return float(low), float(high)


def _rates(threshold: Threshold, calibrating: Answers, labels: tuple[int, ...]) -> dict[str, Any]:
    """Both rates of a threshold with their 95 % intervals for as many lesions as they were counted on."""
    positive = np.isin(calibrating.truth, labels)
    positives, negatives = (len(np.unique(calibrating.lesions[kind])) for kind in (positive, ~positive))
    return {
        "positive_lesions": positives,
        "sensitivity": threshold.sensitivity,
        "sensitivity_interval": wilson(threshold.sensitivity, positives),
        "negative_lesions": negatives,
        "specificity": threshold.specificity,
        "specificity_interval": wilson(threshold.specificity, negatives),
    }
