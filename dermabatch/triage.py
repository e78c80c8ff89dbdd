"""From logits to what a reader sees: scores, probabilities, conformal set, triage level and the reason for it.

Applied once, here, whatever engine computed the logits. Pure: arrays in, values out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from dermabatch.clinical import NOTHING_KNOWN, Clinical
from dermabatch.fusion import Used, fuse
from dermabatch.imaging.quality import Quality, assessable
from dermabatch.manifest import Conformal, Manifest, OutOfDistribution, Threshold, Thresholds
from dermabatch.taxonomy import CLASSES, MALIGNANT_INDICES

_MELANOMA: Final = CLASSES.index("mel")
Vector = npt.NDArray[np.float64]
_SUBJECT: Final = {"mel": "melanoma", "malignant": "malignant classes together"}
_MEMBERS: Final = {"mel": [_MELANOMA], "malignant": list(MALIGNANT_INDICES)}


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
        fields_used: what went into it besides the picture.
    """

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]
    predicted_class: str
    malignant_probability: float
    conformal_set: tuple[str, ...]
    triage: Triage
    reason: str
    fields_used: Used = ()


def assess(
    logits: npt.NDArray[np.float32],
    manifest: Manifest,
    qualities: Sequence[Quality],
    clinical: Sequence[Clinical] | None = None,
    *,
    strangeness: Vector,
) -> list[Assessment]:
    """Read the logits of N images the way the manifest says.

    The most pressing level that applies wins: a poor or strange picture in which melanoma still reaches its threshold
    is urgent, any other of them cannot be assessed, whatever the model says of it. What is known of a patient may
    raise a level and never lowers it: a young age silences no alarm that the picture gives.

    Args:
        logits: float32[N, 7] of the network, which was trained to stand for a balanced prior.
        manifest: of the model that computed them.
        qualities: of the N images.
        clinical: what is known of the N images besides their pixels; None where nothing is.
        strangeness: float64[N] by the model's `dermabatch.out_of_distribution.Detector`.

    Raises:
        ValueError: a logit or a strangeness is not finite, and compared with a threshold would pass for harmless;
            or there is another number of images in one of the arguments.
    """
    if not (np.isfinite(logits).all() and np.isfinite(strangeness).all()):
        raise ValueError("expected finite logits and strangeness, received NaN or infinity")
    flaws = _flaws(qualities, strangeness, manifest.out_of_distribution)
    fused = fuse(logits, manifest.fusion, [NOTHING_KNOWN] * len(logits) if clinical is None else clinical)
    of_picture, of_all = (
        calibrated_probabilities(each, manifest.temperature, manifest.prior.natural)
        for each in (logits, fused.logits)
    )
    scores = decision_scores(fused.logits)
    sets = conformal_sets(scores, of_all, manifest.conformal)
    return [
        _assessment(manifest.thresholds, *of_one)
        for of_one in zip(scores, of_all, of_picture, sets, flaws, fused.used, strict=True)
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


def conformal_sets(
    scores: npt.NDArray[np.floating], probabilities: npt.NDArray[np.floating], conformal: Conformal
) -> npt.NDArray[np.bool_]:
    """Which classes are in the set of each image, bool[N, 7]: all that are likely enough, and the one that is shown.

    A set without the class shown beside it would puzzle; calibration counts on it being there.

    Args:
        scores: float[N, 7], whose argmax is shown.
        probabilities: float[N, 7], calibrated.
        conformal: of the manifest.
    """
    sets: npt.NDArray[np.bool_] = 1 - probabilities <= np.array(conformal.quantiles)
    sets[np.arange(len(sets)), scores.argmax(axis=1)] = True
    return sets


def _softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class _Suspicion:
    """A calibrated probability, and how a sentence calls what it is of."""

    of: str
    value: float


def _assessment(
    thresholds: Thresholds,
    scores: Vector,
    probabilities: Vector,
    of_picture: Vector,
    in_set: npt.NDArray[np.bool_],
    flaws: str,
    fields_used: Used,
) -> Assessment:
    melanoma, malignant = (_suspicion(group, probabilities, of_picture) for group in ("mel", "malignant"))
    triage, reason = _triage(melanoma, malignant, thresholds, flaws)
    return Assessment(
        scores=tuple(scores.tolist()),
        probabilities=tuple(probabilities.tolist()),
        predicted_class=CLASSES[scores.argmax()],
        malignant_probability=float(probabilities[_MEMBERS["malignant"]].sum()),
        conformal_set=tuple(CLASSES[i] for i in np.flatnonzero(in_set)),
        triage=triage,
        reason=reason,
        fields_used=fields_used,
    )


def _suspicion(group: str, probabilities: Vector, of_picture: Vector) -> _Suspicion:
    """The larger one of the probability by all that is known and of that by the picture alone."""
    by_all, by_picture = (float(one[_MEMBERS[group]].sum()) for one in (probabilities, of_picture))
    if by_picture > by_all:
        return _Suspicion(f"{_SUBJECT[group]} by the picture alone", by_picture)
    return _Suspicion(_SUBJECT[group], by_all)


def _triage(
    melanoma: _Suspicion, malignant: _Suspicion, thresholds: Thresholds, flaws: str
) -> tuple[Triage, str]:
    if melanoma.value >= thresholds.urgent.value:
        reason = _reached(melanoma, thresholds.urgent)
        return Triage.URGENT, _sentence(Triage.URGENT, f"{reason}, though {flaws}" if flaws else reason)
    if flaws:
        return Triage.CANNOT_ASSESS, _sentence(Triage.CANNOT_ASSESS, flaws)
    if malignant.value >= thresholds.soon.value:
        return Triage.SOON, _sentence(Triage.SOON, _reached(malignant, thresholds.soon))
    return Triage.NOT_FLAGGED, _sentence(Triage.NOT_FLAGGED, _below(melanoma, malignant, thresholds))


def _sentence(triage: Triage, reason: str) -> str:
    return f"{triage.label}: {reason}"


def _reached(suspicion: _Suspicion, threshold: Threshold) -> str:
    value, limit = _told_apart(suspicion.value, threshold.value)
    return (
        f"{suspicion.of} {value}, at or above the threshold {limit}"
        f" chosen for {threshold.target * 100:g} % {threshold.chosen_for}"
    )


def _below(melanoma: _Suspicion, malignant: _Suspicion, thresholds: Thresholds) -> str:
    first, first_limit = _told_apart(melanoma.value, thresholds.urgent.value)
    second, second_limit = _told_apart(malignant.value, thresholds.soon.value)
    return (
        f"{melanoma.of} {first} and {malignant.of} {second},"
        f" below their thresholds {first_limit} and {second_limit}"
    )


def _flaws(qualities: Sequence[Quality], strangeness: Vector, limit: OutOfDistribution) -> list[str]:
    """Why each picture cannot be judged, in words; empty where it can."""
    doubts = [
        _poor(quality) + _strange(value, limit) for quality, value in zip(qualities, strangeness, strict=True)
    ]
    return [f"the picture {' and '.join(of_one)}" if of_one else "" for of_one in doubts]


def _poor(quality: Quality) -> list[str]:
    return [] if assessable(quality) else [f"is {_listed(quality.flags)}"]


def _strange(value: float, limit: OutOfDistribution) -> list[str]:
    if value <= limit.threshold:
        return []
    shown, threshold = _told_apart(float(value), limit.threshold)
    return [
        f"does not look like a dermatoscopic image (strangeness {shown}, above the limit {threshold}"
        f" that {limit.kept * 100:g} % of lesions keep)"
    ]


def _told_apart(value: float, limit: float) -> tuple[str, str]:
    """Both with two decimals, or with as many as it takes, up to six, to see which is larger."""
    decimals = next((n for n in range(2, 6) if round(value, n) != round(limit, n)), 6)
    return f"{value:.{decimals}f}", f"{limit:.{decimals}f}"


def _listed(flags: Sequence[str]) -> str:
    return " and ".join(flag.replace("_", " ") for flag in flags)
