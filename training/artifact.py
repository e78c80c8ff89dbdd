"""Writes the folder that a worker serves from. `dermabatch.artifacts` says what is in it and how it is trusted."""

import importlib.metadata
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import keras

from dermabatch.artifacts import (
    CARD,
    GOLDEN,
    MANIFEST,
    REPORT,
    WEIGHTS,
    Artifact,
    Manifest,
    Network,
    Prior,
    Training,
    describe_files,
    read_artifact,
)
from dermabatch.imaging.preprocess import PREPROCESSING_VERSION
from dermabatch.networks.weights import save_weights
from dermabatch.taxonomy import CLASSES
from training.calibrate import Calibration
from training.card import write_card
from training.data import Pixels
from training.evaluate import manifest_metrics
from training.export import golden_file, openvino_files

LIBRARIES: Final = ("keras", "numpy", "opencv-python-headless", "openvino", "tensorflow")


def write_artifact(
    folder: Path,
    *,
    name: str,
    network: keras.Model,
    about: Network,
    training: Training,
    calibration: Calibration,
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
    }
    manifest = Manifest(
        format=1,
        name=name,
        network=about,
        classes=CLASSES,
        preprocessing_version=PREPROCESSING_VERSION,
        input_size=network.input_shape[1],
        prior=Prior(decision=(1 / len(CLASSES),) * len(CLASSES), natural=calibration.prior),
        temperature=calibration.temperature,
        thresholds=calibration.thresholds,
        conformal=calibration.conformal,
        out_of_distribution=None,
        training=training,
        metrics=manifest_metrics(report),
        libraries={library: importlib.metadata.version(library) for library in LIBRARIES},
        created_at=datetime.now(UTC).replace(microsecond=0),
        files=describe_files(files),
    )
    _replace_folder(folder, {**files, MANIFEST: manifest.to_bytes()})
    return read_artifact(folder, expected_digest=manifest.digest, verify_key=None)


def _replace_folder(folder: Path, files: dict[str, bytes]) -> None:
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for file, content in files.items():
        path = partial / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
