"""Proof that an engine computes what the model was evaluated with, on images that the artifact brings along."""

import io
from typing import Final

import numpy as np
import numpy.typing as npt

from dermabatch.artifacts import Artifact
from dermabatch.engines.base import Engine
from dermabatch.errors import ArtifactRefused
from dermabatch.manifest import GOLDEN, Manifest
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
    """The largest difference of any probability from the recorded one."""
    with np.load(io.BytesIO(artifact.read(GOLDEN)), allow_pickle=False) as golden:
        images, expected = golden["images"], golden["logits"]
    received = engine.run(images).logits
    return float(
        np.abs(
            _all_probabilities(received, artifact.manifest) - _all_probabilities(expected, artifact.manifest)
        ).max()
    )


def _all_probabilities(logits: npt.NDArray[np.float32], manifest: Manifest) -> npt.NDArray[np.float64]:
    """float64[2, N, 7]: the decision scores, and the calibrated probabilities."""
    calibrated = calibrated_probabilities(logits, manifest.temperature, manifest.prior.natural)
    return np.stack([decision_scores(logits), calibrated])
