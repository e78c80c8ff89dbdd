"""The images of a held-out side, read in the two ways of `dermabatch.triage`.

Decision scores are for a balanced prior, and their argmax is the class: BMA, the confusion matrix and the figures
of single classes are counted on them, image by image, by the rules of ISIC 2018 Task 3. Calibrated probabilities are
for the natural prior: triage, conformal sets, calibration and abstention are counted on those, each lesion once.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from dermabatch.taxonomy import CLASSES, MALIGNANT_INDICES
from dermabatch.triage import decision_scores
from training.answers import Answers
from training.calibrate import MELANOMA, Calibration
from training.errors import UnusableData
from training.intervals import Bootstrap, Figure, Flags, Statistic, rate
from training.metrics import Floats, Labels


@dataclass(frozen=True)
class HeldOut:
    """Aligned by image: class indices int64[N], lesions str[N], scores and probabilities float64[N, 7].

    `weights` float64[N] are what an image counts where each lesion counts once.
    """

    truth: Labels
    lesions: npt.NDArray[np.str_]
    weights: Floats
    scores: Floats
    probabilities: Floats
    bootstrap: Bootstrap

    @classmethod
    def of(cls, answers: Answers, calibration: Calibration, seed: int) -> Self:
        """Read `answers` with a calibration that was chosen on other lesions; `seed` is that of the bootstrap.

        Raises:
            UnusableData: a class has no image.
        """
        if missing := [name for label, name in enumerate(CLASSES) if label not in answers.truth]:
            raise UnusableData(
                f"Expected images of every class. Received: {len(answers.samples)} images, none of them of "
                f"{', '.join(missing)}."
            )
        return cls(
            truth=answers.truth,
            lesions=answers.lesions,
            weights=answers.weights,
            scores=decision_scores(answers.logits),
            probabilities=calibration.probabilities(answers.logits),
            bootstrap=Bootstrap(answers.truth, answers.lesions, seed),
        )

    def within(self, images: Flags) -> Self:
        """Some of the images, bool[N], alone."""
        return type(self)(
            truth=self.truth[images],
            lesions=self.lesions[images],
            weights=self.weights[images],
            scores=self.scores[images],
            probabilities=self.probabilities[images],
            bootstrap=self.bootstrap.within(images),
        )

    @cached_property
    def called(self) -> Labels:
        """The class that is shown: the argmax of the decision scores, int64[N]."""
        return self.scores.argmax(axis=1)  # type: ignore[no-any-return]

    @cached_property
    def is_melanoma(self) -> Flags:
        """bool[N]."""
        return self.truth == MELANOMA  # type: ignore[no-any-return]

    @cached_property
    def is_malignant(self) -> Flags:
        """bool[N]."""
        return np.isin(self.truth, MALIGNANT_INDICES)

    @cached_property
    def suspicion(self) -> Floats:
        """Calibrated probability of the malignant classes together, float64[N]."""
        return self.probabilities[:, MALIGNANT_INDICES].sum(axis=1)  # type: ignore[no-any-return]

    def by_image(self, statistic: Statistic) -> Figure:
        """Value and interval with each image counted once."""
        return self.bootstrap.figure(statistic)

    def by_lesion(self, statistic: Statistic) -> Figure:
        """Value and interval with each lesion counted once."""
        return self.bootstrap.figure(statistic, self.weights)

    def image_rate(self, hit: Flags, among: Flags) -> Figure:
        """Share of the images `among` that are `hit`."""
        return rate(hit, among, np.ones(len(hit)), self.lesions)

    def lesion_rate(self, hit: Flags, among: Flags) -> Figure:
        """The same with each lesion counted once."""
        return rate(hit, among, self.weights, self.lesions)

    def lesion_count(self, among: Flags) -> int:
        """How many lesions the images `among` show."""
        return len(np.unique(self.lesions[among]))
