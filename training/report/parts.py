"""What a report says besides the figures of `training.evaluate`: which model, which images, which errors."""

import importlib.metadata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import cv2
import numpy as np

from dermabatch.imaging.preprocess import PREPROCESSING_VERSION
from dermabatch.manifest import Network, Training
from dermabatch.taxonomy import CLASSES, MALIGNANT_INDICES
from training.answers import Answers
from training.calibrate import Calibration
from training.data import Pixels, Sample
from training.held_out import HeldOut

LIBRARIES: Final = (
    "keras",
    "matplotlib",
    "numpy",
    "opencv-python-headless",
    "openvino",
    "scikit-learn",
    "tensorflow",
)
EXAMPLES: Final = 12  # of a kind: as many as a reader looks at
THUMBNAIL_EDGE: Final = 96


def about(
    *,
    model: str,
    digest: str | None,
    network: Network,
    training: Training,
    calibration: Calibration,
    engine: str,
    data: str,
    side: str | None,
    split_digest: str | None,
    seed: int,
) -> dict[str, Any]:
    """Which model was evaluated, on which images, by what.

    Args:
        model: its name; `digest` is None while its artifact is being made.
        network: architecture and parameters.
        training: what it was trained on.
        calibration: how its logits are read.
        engine: what computed the answers.
        data: what the images are, for people.
        side: of the split; None where there is no split.
        split_digest: SHA-256 of the split's file.
        seed: of the bootstrap.
    """
    return {
        "model": model,
        "digest": digest,
        "network": network.model_dump(),
        "training": training.model_dump(),
        "temperature": calibration.temperature,
        "prior": dict(zip(CLASSES, calibration.prior, strict=True)),
        "preprocessing_version": PREPROCESSING_VERSION,
        "engine": engine,
        "data": data,
        "side": side,
        "split_digest": split_digest,
        "split_is_the_models": split_digest == training.split_digest,
        "bootstrap_seed": seed,
        "libraries": {library: importlib.metadata.version(library) for library in LIBRARIES},
        "created_at": datetime.now(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z"),
    }


def cohorts(sides: Mapping[str, Sequence[Sample]]) -> dict[str, dict[str, Any]]:
    """Who stands on each side: images and lesions by class, age, sex."""
    return {str(side): _cohort(samples) for side, samples in sides.items()}


def _cohort(samples: Sequence[Sample]) -> dict[str, Any]:
    ages = [sample.age for sample in samples if sample.age is not None]
    return {
        "images": len(samples),
        "lesions": len({sample.lesion_id for sample in samples}),
        "classes": {
            name: {
                "images": len(own),
                "lesions": len({sample.lesion_id for sample in own}),
            }
            for name, own in (
                (name, [s for s in samples if s.label == label]) for label, name in enumerate(CLASSES)
            )
        },
        "age_quartiles": np.percentile(ages, (25, 50, 75)).tolist() if ages else None,
        "age_not_recorded": len(samples) - len(ages),
        "female": sum(sample.sex == "female" for sample in samples),
        "male": sum(sample.sex == "male" for sample in samples),
    }


def examples(answers: Answers, calibration: Calibration, seed: int) -> list[dict[str, Any]]:
    """The worst errors of two kinds: malignant lesions that looked harmless, and benign ones that looked malignant."""
    side = HeldOut.of(answers, calibration, seed)
    called_malignant = np.isin(side.called, MALIGNANT_INDICES)
    kinds = {
        "malignant taken for benign": (side.is_malignant & ~called_malignant, side.suspicion),
        "benign taken for malignant": (~side.is_malignant & called_malignant, -side.suspicion),
    }
    return [
        {
            "kind": kind,
            "image_id": answers.samples[at].image_id,
            "truth": CLASSES[side.truth[at]],
            "called": CLASSES[side.called[at]],
            "malignant_probability": float(side.suspicion[at]),
        }
        for kind, (wrong, first) in kinds.items()
        for at in sorted(np.flatnonzero(wrong).tolist(), key=lambda at, first=first: first[at])[:EXAMPLES]  # type: ignore[misc]
    ]


def thumbnail(image: Pixels) -> bytes:
    """A JPEG of `THUMBNAIL_EDGE` pixels of uint8[S, S, 3]."""
    small = cv2.resize(image, (THUMBNAIL_EDGE, THUMBNAIL_EDGE), interpolation=cv2.INTER_AREA)
    written, data = cv2.imencode(".jpg", small[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    assert written
    return data.tobytes()
