"""The same figures for women and men, young and old, face and back: where a model is worse than its mean says."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from training import weighted
from training.data import Sample
from training.held_out import HeldOut
from training.intervals import Flags

OLDER_THAN: Final = (30, 45, 60, 75)
"""Years at which a group begins; the first group ends where the second begins."""
FEWEST_LESIONS: Final = 10
"""Malignant or benign ones: with fewer an interval spans half the scale and more, and nothing can be said."""
UNKNOWN: Final = "not recorded"


def subgroups(side: HeldOut, samples: Sequence[Sample], flagged: Flags) -> dict[str, list[dict[str, Any]]]:
    """Figures of each group by age, sex and site; `flagged` bool[N] is where triage says urgent or soon."""
    groupings = {
        "age": [_age_group(sample.age) for sample in samples],
        "sex": [sample.sex or UNKNOWN for sample in samples],
        "site": [sample.localization or UNKNOWN for sample in samples],
    }
    return {name: _grouped(side, name, np.array(group_of), flagged) for name, group_of in groupings.items()}


def _grouped(
    side: HeldOut, grouping: str, group_of: npt.NDArray[np.str_], flagged: Flags
) -> list[dict[str, Any]]:
    rows = []
    for group in _in_order(grouping, group_of.tolist()):
        inside = group_of == group
        rows.append(_one_group(group, side.within(inside), flagged[inside]))
    return rows


def _age_group(years: float | None) -> str:
    if years is None:
        return UNKNOWN
    if years < OLDER_THAN[0]:
        return f"under {OLDER_THAN[0]}"
    if years >= OLDER_THAN[-1]:
        return f"{OLDER_THAN[-1]} and over"
    low, high = next(bounds for bounds in pairwise(OLDER_THAN) if years < bounds[1])
    return f"{low} to {high - 1}"


def _in_order(grouping: str, groups: Sequence[str]) -> list[str]:
    """The young first, else the group with most images first; what is not recorded last."""
    if grouping == "age":
        return sorted(set(groups), key=lambda group: (group == UNKNOWN, not group.startswith("under"), group))
    frequent_first = [group for group, _ in Counter(groups).most_common()]
    return sorted(frequent_first, key=UNKNOWN.__eq__)


def _one_group(name: str, group: HeldOut, flagged: Flags) -> dict[str, Any]:
    malignant, benign = group.is_malignant, ~group.is_malignant
    positives, negatives = group.lesion_count(malignant), group.lesion_count(benign)
    return {
        "group": name,
        "images": len(group.truth),
        "lesions": len(np.unique(group.lesions)),
        "malignant_lesions": positives,
        "too_few": min(positives, negatives) < FEWEST_LESIONS,
        "classes": len(np.unique(group.truth)),
        **group.by_image(weighted.balanced_accuracy(group.truth, group.scores)).named("bma"),
        **group.by_image(weighted.auroc(malignant, group.suspicion)).named("malignant_auroc"),
        **group.lesion_rate(flagged, malignant).named("sensitivity"),
        **group.lesion_rate(~flagged, benign).named("specificity"),
    }
