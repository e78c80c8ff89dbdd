"""From logits to what a reader sees: scores, probabilities, conformal set, triage level and the reason for it.

Applied once, here, whatever engine computed the logits. Pure: arrays in, values out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from dermabatch.artifacts import Manifest, Threshold, Thresholds
from dermabatch.imaging.quality import Quality, assessable
from dermabatch.taxonomy import CLASSES, MALIGNANT_INDICES

_MELANOMA: Final = CLASSES.index("mel")
Vector = npt.NDArray[np.float64]
_SUBJECT: Final = {"mel": "melanoma", "malignant": "malignant classes together"}


class Triage(StrEnum):
    """How much an image wants eyes, the most pressing level first."""

    URGENT = "urgent"  # melanoma reaches its threshold
    CANNOT_ASSESS = "cannot_assess"  # nobody knows; never sorted among the harmless
    SOON = "soon"  # the malignant classes together reach theirs
    NOT_FLAGGED = "not_flagged"  # neither; this is no finding of health

    @property
    def label(self) -> str:
        """As a sentence begins: `Cannot assess`."""
        return self.value.replace("_", " ").capitalize()


@dataclass(frozen=True, slots=True)
class Assessment:
    """What the model says of one image. Vectors are in the order of `taxonomy.CLASSES`.

    Attributes:
        scores: for a balanced prior, sum 1; their argmax is the class.
        probabilities: calibrated, for the natural prior, sum 1.
        predicted_class: code of the class.
        malignant_probability: sum of `probabilities` over the malignant classes.
        conformal_set: codes; holds the true class as often as the manifest's coverage says.
        triage: the level.
        reason: one sentence without a full stop, with the figures that decided.
    """

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]
    predicted_class: str
    malignant_probability: float
    conformal_set: tuple[str, ...]
    triage: Triage
    reason: str


def assess(
    logits: npt.NDArray[np.float32], manifest: Manifest, qualities: Sequence[Quality]
) -> list[Assessment]:
    """Read the logits of N images the way the manifest says.

    The most pressing level that applies wins: a poor picture in which melanoma still reaches its threshold is
    urgent, any other poor picture cannot be assessed, whatever the model says of it.

    Args:
        logits: float32[N, 7] of the network, which was trained to stand for a balanced prior.
        manifest: of the model that computed them.
        qualities: of the N images.

    Raises:
        ValueError: a logit is not finite; compared with a threshold it would pass for harmless.
    """
    if not np.isfinite(logits).all():
        raise ValueError("expected finite logits, received NaN or infinity")
    probabilities = calibrated_probabilities(logits, manifest.temperature, manifest.prior.natural)
    return [
        _assessment(score, probability, quality, manifest)
        for score, probability, quality in zip(decision_scores(logits), probabilities, qualities, strict=True)
    ]


def decision_scores(logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Softmax of the logits, float64[N, 7]: every class taken to be equally frequent, as BMA counts."""
    return _softmax(logits.astype(np.float64))


def calibrated_probabilities(
    logits: npt.NDArray[np.floating], temperature: float, natural_prior: Sequence[float]
) -> npt.NDArray[np.float64]:
    """Probabilities float64[N, 7] where the classes are as frequent as `natural_prior` says.

    softmax(logits / T + log(prior)): temperature scaling (Guo et al., 2017), then Bayes' rule from the balanced
    prior of the logits to the natural one (Menon et al., "Long-tail learning via logit adjustment", 2021).

    Args:
        logits: float[N, 7].
        temperature: T > 0.
        natural_prior: seven positive frequencies with sum 1.
    """
    return _softmax(logits.astype(np.float64) / temperature + np.log(natural_prior))


def _softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]


def _assessment(scores: Vector, probabilities: Vector, quality: Quality, manifest: Manifest) -> Assessment:
    malignant = float(probabilities[list(MALIGNANT_INDICES)].sum())
    predicted = scores.argmax()
    in_set = 1 - probabilities <= manifest.conformal.quantile
    in_set[predicted] = (
        True  # a set without the class shown beside it would puzzle, and one more only covers more
    )
    triage, reason = _triage(float(probabilities[_MELANOMA]), malignant, manifest.thresholds, quality)
    return Assessment(
        scores=tuple(scores.tolist()),
        probabilities=tuple(probabilities.tolist()),
        predicted_class=CLASSES[predicted],
        malignant_probability=malignant,
        conformal_set=tuple(CLASSES[i] for i in np.flatnonzero(in_set)),
        triage=triage,
        reason=reason,
    )


def _triage(
    melanoma: float, malignant: float, thresholds: Thresholds, quality: Quality
) -> tuple[Triage, str]:
    flaws = "" if assessable(quality) else f"the picture is {_listed(quality.flags)}"
    if melanoma >= thresholds.urgent.value:
        reason = _reached(melanoma, thresholds.urgent)
        return Triage.URGENT, _sentence(Triage.URGENT, f"{reason}, though {flaws}" if flaws else reason)
    if flaws:
        return Triage.CANNOT_ASSESS, _sentence(Triage.CANNOT_ASSESS, flaws)
    if malignant >= thresholds.soon.value:
        return Triage.SOON, _sentence(Triage.SOON, _reached(malignant, thresholds.soon))
    return Triage.NOT_FLAGGED, _sentence(Triage.NOT_FLAGGED, _below(melanoma, malignant, thresholds))


def _sentence(triage: Triage, reason: str) -> str:
    return f"{triage.label}: {reason}"


def _reached(probability: float, threshold: Threshold) -> str:
    value, limit = _told_apart(probability, threshold.value)
    return (
        f"{_SUBJECT[threshold.on]} {value}, at or above the threshold {limit}"
        f" chosen for {threshold.target * 100:g} % {threshold.chosen_for}"
    )


def _below(melanoma: float, malignant: float, thresholds: Thresholds) -> str:
    first, first_limit = _told_apart(melanoma, thresholds.urgent.value)
    second, second_limit = _told_apart(malignant, thresholds.soon.value)
    return (
        f"{_SUBJECT['mel']} {first} and {_SUBJECT['malignant']} {second},"
        f" below their thresholds {first_limit} and {second_limit}"
    )


def _told_apart(value: float, limit: float) -> tuple[str, str]:
    """Both with two decimals, or with as many as it takes, up to six, to see which is larger."""
    decimals = next((n for n in range(2, 6) if round(value, n) != round(limit, n)), 6)
    return f"{value:.{decimals}f}", f"{limit:.{decimals}f}"


def _listed(flags: Sequence[str]) -> str:
    return " and ".join(flag.replace("_", " ") for flag in flags)
