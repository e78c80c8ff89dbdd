"""Writes the folder that a worker serves from. `dermabatch.artifacts` says what is in it and how it is trusted."""

import importlib.metadata
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import keras

from dermabatch.artifacts import Artifact, read_artifact
from dermabatch.imaging.preprocess import PREPROCESSING_VERSION
from dermabatch.manifest import (
    CARD,
    GOLDEN,
    MANIFEST,
    OUT_OF_DISTRIBUTION,
    REPORT,
    WEIGHTS,
    Fusion,
    Manifest,
    Network,
    OutOfDistribution,
    Prior,
    Readings,
    Training,
    describe_files,
)
from dermabatch.networks.weights import save_weights
from dermabatch.out_of_distribution import Detector
from dermabatch.taxonomy import CLASSES
from training.calibrate import Calibration
from training.card import write_card
from training.data import Pixels
from training.evaluate import manifest_metrics
from training.export import golden_file, openvino_files
from training.folders import replace_folder

LIBRARIES: Final = ("keras", "numpy", "opencv-python-headless", "openvino", "tensorflow")


def write_artifact(
    folder: Path,
    *,
    name: str,
    network: keras.Model,
    about: Network,
    training: Training,
    calibration: Calibration,
    detector: Detector,
    out_of_distribution: OutOfDistribution,
    fusion: Fusion | None,
    report: dict[str, Any],
    golden_images: Pixels,
) -> Artifact:
    """Write a complete artifact, unsigned, in place of what `folder` held; it is whole or not there.

    Args:
        folder: of the artifact; its parent exists.
        name: for people; the identity is the digest of the manifest.
        network: trained.
        about: name and parameters that build `network` again.
        training: what it was trained on.
        calibration: chosen on other lesions than those of `report`.
        detector: of pictures that show something else, for the embeddings of `network`.
        out_of_distribution: the limit of its score.
        fusion: what age, sex and place add; None where they are not worth it.
        report: of `training.evaluate.evaluate`.
        golden_images: uint8[N, S, S, 3], for the comparison of engines.

    Raises:
        EnginesDisagree: the exported files answer differently from `network`.
    """
    openvino_ir = openvino_files(network)
    files = {
        WEIGHTS: save_weights(network),
        **openvino_ir,
        CARD: write_card(name, about, training, calibration.thresholds, report).encode(),
        REPORT: json.dumps(report, indent=1, sort_keys=True).encode(),
        GOLDEN: golden_file(network, openvino_ir, golden_images),
        OUT_OF_DISTRIBUTION: detector.to_bytes(),
    }
    manifest = Manifest(
        format=2,
        name=name,
        network=about,
        classes=CLASSES,
        preprocessing_version=PREPROCESSING_VERSION,
        input_size=network.input_shape[1],
        prior=Prior(decision=(1 / len(CLASSES),) * len(CLASSES), natural=calibration.prior),
        readings=Readings(
            scores="softmax(logits)", probabilities="softmax(logits / temperature + log(prior.natural))"
        ),
        temperature=calibration.temperature,
        thresholds=calibration.thresholds,
        conformal=calibration.conformal,
        out_of_distribution=out_of_distribution,
        fusion=fusion,
        training=training,
        metrics=manifest_metrics(report),
        libraries={library: importlib.metadata.version(library) for library in LIBRARIES},
        created_at=datetime.now(UTC).replace(microsecond=0),
        files=describe_files(files),
    )
    replace_folder(folder, {**files, MANIFEST: manifest.to_bytes()})
    return read_artifact(folder, expected_digest=manifest.digest, verify_key=None)
