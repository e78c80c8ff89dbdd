"""Writes the folder that a worker serves from. `dermabatch.artifacts` says what is in it and how it is trusted."""

import importlib.metadata
from collections.abc import Collection, Mapping
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
    REPORT_PAGE,
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
from training.report import render_report, report_bytes

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
        REPORT: report_bytes(report),
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
    return _written(folder, files, manifest)


def with_report(draft: Artifact, report: dict[str, Any], folder: Path) -> Artifact:
    """`draft` with the report, page, card and figures of `training.report`, written in place of what `folder` held.

    Args:
        draft: an artifact without a signature.
        report: of `training.report.of_artifact.report_data`. It names no digest, because the digest will cover it.
        folder: of the artifact; its parent exists.
    """
    manifest = draft.manifest
    report["about"]["digest"] = None
    changed = {
        REPORT: report_bytes(report),
        REPORT_PAGE: render_report(report).encode(),
        CARD: write_card(
            manifest.name, manifest.network, manifest.training, manifest.thresholds, report
        ).encode(),
    }
    return rewritten(draft, folder, changed, metrics=manifest_metrics(report))


def rewritten(
    artifact: Artifact,
    folder: Path,
    changed: Mapping[str, bytes],
    *,
    without: Collection[str] = (),
    **fields: Any,
) -> Artifact:
    """`artifact` with other files and other fields of its manifest, in place of what `folder` held.

    Args:
        artifact: without a signature.
        folder: of the result; may be that of `artifact`.
        changed: files that are new or have another content.
        without: files that are left out.
        fields: of the manifest; `files` follow from the above.
    """
    kept = [name for name in artifact.manifest.files if name not in {*changed, *without}]
    files = {**{name: artifact.read(name) for name in kept}, **changed}
    manifest = artifact.manifest.model_copy(update={**fields, "files": describe_files(files)})
    return _written(folder, files, manifest)


def _written(folder: Path, files: Mapping[str, bytes], manifest: Manifest) -> Artifact:
    replace_folder(folder, {**files, MANIFEST: manifest.to_bytes()})
    return read_artifact(folder, expected_digest=manifest.digest, verify_key=None)
