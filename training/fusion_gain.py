"""What a fusion gains over the picture alone, and whether what was promised for the picture alone still holds.

Temperature, thresholds and conformal sets are chosen on the logits of the network, and fused logits are read with the
same ones. That they hold is measured here for every choice of fields that a hospital may tell.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Self

import numpy as np

from dermabatch.clinical import Field, value_of
from dermabatch.manifest import Fusion
from dermabatch.triage import conformal_sets
from training import weighted
from training.answers import Answers
from training.calibrate import MELANOMA, Calibration
from training.data import Sample
from training.fusion import CHOICES, Fields, clinical_of, cross_fitted, fit_fusion, fuse_answers, limited
from training.held_out import HeldOut
from training.intervals import Figure, Flags, Statistic
from training.subgroups import subgroups

PROMISES: Final = {"flagged_sensitivity": -1, "urgent_specificity": -1, "coverage": -1, "ece": +1}
"""What calibration promises, and the direction in which a change is for the worse."""
TOLERANCE: Final = 0.02
"""A promise that moves by no more is kept: two points, as the goal for conformal coverage has it."""


def fusion_gain(
    image_only: Answers, fused: Mapping[Fields, Answers], calibration: Calibration, seed: int
) -> dict[str, Any]:
    """Figures with and without the fields, and paired 95 % intervals of what changes; ready for JSON.

    Args:
        image_only: for lesions that shaped no weight, nor the fusion that is added to their own answers.
        fused: the same answers, by the fields that are used where they are known; the last of them has every field.
        calibration: of the network alone.
        seed: of the bootstrap.

    Raises:
        UnusableData: a class has no image.
    """
    picture = HeldOut.of(image_only, calibration, seed)
    before = _Reading(picture, picture, calibration)
    after = {
        fields: _Reading(HeldOut.of(answers, calibration, seed), picture, calibration)
        for fields, answers in fused.items()
    }
    rows = [
        {"fields": [field.value for field in fields], **_compared(before, reading)}
        for fields, reading in after.items()
    ]
    everything = list(after.values())[-1]
    return {
        **{name: rows[-1][name] for name in ("bma", "bma_interval", "gain", "gain_interval")},
        "images": len(picture.truth),
        "lesions": len(np.unique(picture.lesions)),
        "known": {field.value: _share_known(field, image_only) for field in Field},
        "image_only": {name: before.figure(name).value for name in before.statistics},
        "by_fields": rows,
        "flagged_by_age": {
            "image_only": _by_age(before, image_only),
            "fused": _by_age(everything, image_only),
        },
    }


def gain_of(fusion: Fusion, answers: Answers, calibration: Calibration, seed: int) -> dict[str, Any]:
    """What a finished fusion gains for every choice of fields; see `fusion_gain`.

    Args:
        fusion: of the same model.
        answers: of the network alone, for lesions that shaped neither it nor the fusion.
        calibration: of the network alone.
        seed: of the bootstrap.
    """
    by_fields = {fields: fuse_answers(answers, limited(fusion, fields)) for fields in CHOICES}
    return fusion_gain(answers, by_fields, calibration, seed)


def choose_fusion(
    trained_on: Sequence[Sample], development: Answers, test: Answers, calibration: Calibration, seed: int
) -> tuple[Fusion | None, dict[str, Any]]:
    """The fusion to ship, None where it is not worth it, and what the report says of it.

    Args:
        trained_on: the training side.
        development: validation and calibration side together. The fusion is learned and judged on these, each lesion
            judged by what was learned from the others.
        test: changes nothing; the gain that the report names is measured on it.
        calibration: of the network alone.
        seed: of folds and bootstrap.

    Raises:
        UnusableData: a class has no image on one of the sides.
    """
    fusion = fit_fusion(trained_on, development)
    judged = fusion_gain(development, cross_fitted(trained_on, development, seed), calibration, seed)
    shipped = worth_shipping(judged)
    report = {
        **gain_of(fusion, test, calibration, seed),
        "shipped": shipped,
        "judged_on": judged,
        "evidence": fusion.model_dump(mode="json")["evidence"],
    }
    return fusion if shipped else None, report


def worth_shipping(gain: Mapping[str, Any]) -> bool:
    """Whether the BMA surely rises, and no promise is surely broken, whichever fields a hospital tells."""
    return gain["gain_interval"][0] > 0 and all(map(_keeps_promises, gain["by_fields"]))


def _keeps_promises(row: Mapping[str, Any]) -> bool:
    return all(
        min(for_the_worse * end for end in row[f"{name}_change_interval"]) <= TOLERANCE
        for name, for_the_worse in PROMISES.items()
    )


@dataclass(frozen=True)
class _Reading:
    """A side as `dermabatch.triage.assess` reads it.

    A level looks at the larger of two suspicions: by `side`, which may be fused, and by the `picture` alone.
    """

    side: HeldOut
    picture: HeldOut
    calibration: Calibration

    @property
    def urgent(self) -> Flags:
        melanoma = np.maximum(*(one.probabilities[:, MELANOMA] for one in (self.side, self.picture)))
        return melanoma >= self.calibration.thresholds.urgent.value

    @property
    def flagged(self) -> Flags:
        malignant = np.maximum(self.side.suspicion, self.picture.suspicion)
        return self.urgent | (malignant >= self.calibration.thresholds.soon.value)

    @property
    def covered(self) -> Flags:
        sets = conformal_sets(self.side.scores, self.side.probabilities, self.calibration.conformal)
        return np.take_along_axis(sets, self.side.truth[:, None], axis=1)[:, 0]

    @cached_property
    def statistics(self) -> dict[str, Statistic]:
        """Everything that a fusion may move, by its name in reports."""
        side = self.side
        return {
            "bma": weighted.balanced_accuracy(side.truth, side.scores),
            "flagged_sensitivity": _share(self.flagged, side.is_malignant),
            "flagged_specificity": _share(~self.flagged, ~side.is_malignant),
            "urgent_sensitivity": _share(self.urgent, side.is_melanoma),
            "urgent_specificity": _share(~self.urgent, ~side.is_melanoma),
            "coverage": weighted.mean(self.covered),
            "ece": weighted.calibration_error(side.truth, side.probabilities),
        }

    def figure(self, name: str) -> Figure:
        """Value and interval; the BMA counts images, everything else lesions."""
        return self._counted(name, self.statistics[name])

    def change(self, name: str, before: Self) -> Figure:
        """Paired: each resample of the lesions counts both readings, so that what is hard for both cancels out."""
        old, new = before.statistics[name], self.statistics[name]
        return self._counted(name, lambda weights: new(weights) - old(weights))

    def _counted(self, name: str, statistic: Statistic) -> Figure:
        return self.side.by_image(statistic) if name == "bma" else self.side.by_lesion(statistic)


def _share(hit: Flags, among: Flags) -> Statistic:
    return lambda weights: (weights @ (hit & among)) / (weights @ among)


def _compared(before: _Reading, after: _Reading) -> dict[str, Any]:
    row = {**after.figure("bma").named("bma"), **after.change("bma", before).named("gain")}
    for name in list(after.statistics)[1:]:
        row |= after.figure(name).named(name) | after.change(name, before).named(f"{name}_change")
    return row


def _by_age(reading: _Reading, answers: Answers) -> list[dict[str, Any]]:
    groups = subgroups(reading.side, answers.samples, reading.flagged)["age"]
    told = ("group", "malignant_lesions", "sensitivity", "sensitivity_interval", "specificity")
    return [{name: group[name] for name in told} for group in groups]


def _share_known(field: Field, answers: Answers) -> float:
    known = [value_of(field, clinical_of(sample)) is not None for sample in answers.samples]
    return float(np.mean(known))
