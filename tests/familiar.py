"""A model that knows what lesions look like: an artifact of format 2 beside the one of `tests.situations`."""

from pathlib import Path

import numpy as np

from dermabatch.manifest import (
    MANIFEST,
    OUT_OF_DISTRIBUTION,
    Conformal,
    ConformalGroup,
    Manifest,
    OutOfDistribution,
    Readings,
    describe_files,
)
from dermabatch.out_of_distribution import Detector
from tests.situations import tiny_manifest, write_artifact

READINGS = Readings(
    scores="softmax(logits)", probabilities="softmax(logits / temperature + log(prior.natural))"
)
SETS = Conformal(
    coverage=0.9,
    score="1-p",
    groups=(
        ConformalGroup(classes=("mel",), quantile=0.95, lesions=60),
        ConformalGroup(classes=("akiec", "bcc"), quantile=0.8, lesions=55),
        ConformalGroup(classes=("bkl", "df", "nv", "vasc"), quantile=0.4, lesions=630),
    ),
)


def detector() -> Detector:
    """Of embeddings of 20 numbers, whose space has three dimensions."""
    random = np.random.default_rng(6)
    directions, _ = np.linalg.qr(random.normal(size=(20, 3)))
    return Detector(np.full(20, 0.2, np.float32), directions.astype(np.float32))


def familiar_manifest(*, threshold: float = 0.5) -> Manifest:
    """What `write_familiar_artifact` says of its files."""
    former = tiny_manifest()
    content = detector().to_bytes()
    return Manifest.model_validate(
        {
            **dict(former),
            "format": 2,
            "readings": READINGS,
            "conformal": SETS,
            "out_of_distribution": OutOfDistribution(
                score="unit-residual", threshold=threshold, kept=0.99, lesions=748
            ),
            "files": {**former.files, **describe_files({OUT_OF_DISTRIBUTION: content})},
        }
    )


def write_familiar_artifact(folder: Path) -> Path:
    """An artifact of which only the detector can be parsed."""
    write_artifact(folder)
    (folder / OUT_OF_DISTRIBUTION).write_bytes(detector().to_bytes())
    (folder / MANIFEST).write_bytes(familiar_manifest().to_bytes())
    return folder
