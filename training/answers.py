"""What a network answers to the images of one side, with what is known of them: the input of every figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from training.data import Sample
from training.metrics import Floats, Labels, lesion_weights


@dataclass(frozen=True, slots=True)
class Answers:
    """Aligned by image: `logits` float32[N, 7] for a balanced prior, `embedding` float32[N, D]."""

    samples: Sequence[Sample]
    logits: npt.NDArray[np.float32]
    embedding: npt.NDArray[np.float32]

    @property
    def truth(self) -> Labels:
        """Class indices, int64[N]."""
        return np.array([sample.label for sample in self.samples], np.int64)

    @property
    def lesions(self) -> npt.NDArray[np.str_]:
        """The lesion of each image, str[N]."""
        return np.array([sample.lesion_id for sample in self.samples])

    @property
    def weights(self) -> Floats:
        """What each image counts so that every lesion counts once, float64[N]."""
        return lesion_weights(self.lesions)

    def at(self, positions: Labels) -> Self:
        """The answers for some of the images, int64[n]."""
        samples = [self.samples[position] for position in positions]
        return type(self)(samples, self.logits[positions], self.embedding[positions])

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The answers for the images of several sides, in their order."""
        return cls(
            [sample for part in parts for sample in part.samples],
            np.concatenate([part.logits for part in parts]),
            np.concatenate([part.embedding for part in parts]),
        )
