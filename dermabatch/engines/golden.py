"""Proof that an engine computes what the model was evaluated with, on images that the artifact brings along."""

from typing import Final

import numpy as np
import numpy.typing as npt

from dermabatch.artifacts import Artifact
from dermabatch.engines.base import Engine, Images
from dermabatch.errors import ArtifactRefused
from dermabatch.manifest import GOLDEN, Manifest
from dermabatch.npz import read_arrays
from dermabatch.taxonomy import CLASSES
from dermabatch.triage import calibrated_probabilities, decision_scores

LARGEST_DIFFERENCE: Final = 1e-3
"""Of any probability in full precision. Two engines in fp32 differ by 1e-6; one that silently computes in bf16 differs
by up to 0.2.
"""


def check_golden(engine: Engine, artifact: Artifact, tolerance: float = LARGEST_DIFFERENCE) -> None:
    """Compare an engine with the recorded answers. It is warm afterwards.

    Raises:
        ArtifactRefused: a probability differs by `tolerance` or more.
    """
    difference = golden_difference(engine, artifact)
    if not difference < tolerance:  # so that NaN is refused too
        raise ArtifactRefused(
            f"Expected {engine.name} within {tolerance:.2g} of the golden probabilities."
            f" Received: a difference of {difference:.2g}"
        )


def golden_difference(engine: Engine, artifact: Artifact) -> float:
    """The largest difference of any probability from the recorded one.

    Raises:
        ArtifactRefused: the golden images or answers are none.
    """
    images, expected = _golden(artifact)
    received = engine.run(images).logits
    return float(
        np.abs(
            _all_probabilities(received, artifact.manifest) - _all_probabilities(expected, artifact.manifest)
        ).max()
    )


def _golden(artifact: Artifact) -> tuple[Images, npt.NDArray[np.float32]]:
    """Images uint8[N, S, S, 3] and the logits float32[N, 7] recorded for them."""
    arrays = read_arrays(artifact.read(GOLDEN), of=GOLDEN, names=("images", "logits"))
    images, logits = arrays["images"], arrays["logits"]
    size = artifact.manifest.input_size
    pictures = images.dtype == np.uint8 and images.shape[1:] == (size, size, 3) and len(images) > 0
    answers = logits.dtype == np.float32 and logits.shape == (len(images), len(CLASSES))
    if not (pictures and answers):
        raise ArtifactRefused(
            f"Expected uint8[N, {size}, {size}, 3] and float32[N, {len(CLASSES)}] in {GOLDEN}."
            f" Received: {images.dtype}{images.shape} and {logits.dtype}{logits.shape}"
        )
    return images, logits


def _all_probabilities(logits: npt.NDArray[np.float32], manifest: Manifest) -> npt.NDArray[np.float64]:
    """float64[2, N, 7]: the decision scores, and the calibrated probabilities."""
    calibrated = calibrated_probabilities(logits, manifest.temperature, manifest.prior.natural)
    return np.stack([decision_scores(logits), calibrated])
