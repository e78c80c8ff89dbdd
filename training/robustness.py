"""What a model keeps of its BMA when the pictures get worse, and what it gains from seeing a lesion in eight poses."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dermabatch.taxonomy import CLASSES
from training import weighted
from training.answers import Answers
from training.calibrate import Calibration
from training.data import Pixels
from training.evaluate import headline
from training.held_out import HeldOut
from training.intervals import Bootstrap, Flags
from training.metrics import Floats
from training.views import DAMAGE, GRADES, POSES, damaged, posed

Ask = Callable[[Pixels], tuple[Floats, Flags]]
"""From uint8[N, S, S, 3] to logits float32[N, 7], and where a reader would see `cannot assess`, bool[N]."""
Progress = Callable[[int], None]
"""Hears how many images have been answered since it last heard."""

QUICK_PER_CLASS: Final = 25
"""Images of a class for a quick look: 30 times at most 175 images, about a minute on two cores."""
AT_ONCE: Final = 64


def quick_choice(answers: Answers) -> npt.NDArray[np.int64]:
    """Positions of the first `QUICK_PER_CLASS` images of each class, ascending."""
    chosen = [np.flatnonzero(answers.truth == label)[:QUICK_PER_CLASS] for label in range(len(CLASSES))]
    return np.sort(np.concatenate(chosen))


def robustness(answers: Answers, pixels: Pixels, ask: Ask, seed: int, progress: Progress) -> dict[str, Any]:
    """BMA under each kind and grade of damage, and the share of images that then cannot be assessed.

    Args:
        answers: for the undamaged images.
        pixels: the images, uint8[N, S, S, 3].
        ask: the model.
        seed: of the bootstrap.
        progress: see `Progress`; `images_asked(len(pixels))` of them are answered.
    """
    bootstrap = Bootstrap(answers.truth, answers.lesions, seed)

    def bma(logits: Floats) -> dict[str, Any]:
        return bootstrap.figure(weighted.balanced_accuracy(answers.truth, logits)).named("bma")

    def one_grade(kind: str, grade: int) -> dict[str, Any]:
        logits, abstained = _answers_to(lambda images: damaged(images, kind, grade), pixels, ask, progress)
        return {
            "strength": DAMAGE[kind].strengths[grade],
            **bma(logits),
            "cannot_assess": float(abstained.mean()),
        }

    kinds = {
        kind: {"unit": damage.unit, "grades": [one_grade(kind, grade) for grade in range(GRADES)]}
        for kind, damage in DAMAGE.items()
    }
    return {"images": len(pixels), "undamaged": bma(answers.logits), "kinds": kinds}


def eight_poses(
    answers: Answers,
    pixels: Pixels,
    ask: Ask,
    calibration: Calibration,
    seed: int,
    progress: Progress,
) -> dict[str, Any]:
    """Headline figures of one view, of the mean logits over eight poses, and what the BMA gains by that.

    The calibration stays that of one view, so a calibration error that grows is no surprise.
    """
    others = [
        _answers_to(lambda images, pose=pose: posed(images, pose), pixels, ask, progress)[0]  # type: ignore[misc]
        for pose in range(1, POSES)
    ]
    mean = np.mean([answers.logits, *others], axis=0)
    one = HeldOut.of(answers, calibration, seed)
    eight = HeldOut.of(replace(answers, logits=mean), calibration, seed)
    before, after = (weighted.balanced_accuracy(side.truth, side.scores) for side in (one, eight))
    gain = one.by_image(lambda weights: after(weights) - before(weights))
    return {"one": headline(one), "eight": headline(eight), **gain.named("bma_gain")}


def images_asked(images: int) -> int:
    """How many answers `robustness` needs for so many images."""
    return images * len(DAMAGE) * GRADES


def poses_asked(images: int) -> int:
    """How many answers `eight_poses` needs for so many images."""
    return images * (POSES - 1)


def _answers_to(
    change: Callable[[Pixels], Pixels], pixels: Pixels, ask: Ask, progress: Progress
) -> tuple[Floats, Flags]:
    logits, abstained = [], []
    for start in range(0, len(pixels), AT_ONCE):
        of_these, cannot_assess = ask(change(np.asarray(pixels[start : start + AT_ONCE])))
        logits.append(of_these)
        abstained.append(cannot_assess)
        progress(len(of_these))
    return np.concatenate(logits), np.concatenate(abstained)
