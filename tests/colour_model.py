"""Models that tell the painted lesions of these tests apart by their colour, fitted in milliseconds."""

import io
import tempfile
from pathlib import Path

import numpy as np
import openvino
from openvino import opset13 as ops

from dermabatch.artifacts import Artifact, read_artifact
from dermabatch.manifest import (
    GOLDEN,
    MANIFEST,
    OPENVINO_BIN,
    OPENVINO_XML,
    OUT_OF_DISTRIBUTION,
    REPORT,
    REQUIRED_FILES,
    Fusion,
    Network,
    OutOfDistribution,
    Training,
    describe_files,
)
from dermabatch.out_of_distribution import Detector
from dermabatch.taxonomy import CLASSES
from tests.situations import tiny_manifest
from training.data import read_image

SIZE = 32
CELLS = 4
CERTAINTY = 12.0
NUMBERS = CELLS * CELLS * 3
"""Of an embedding: red, green and blue of each cell."""
ANYTHING_GOES = OutOfDistribution(score="unit-residual", threshold=2.0, kept=0.99, lesions=1)
"""No two embeddings of length 1 are further apart."""


def fitted_weights(samples) -> np.ndarray:
    """Least squares from the mean colours of 16 cells to the classes, float32[49, 7]."""
    pictures = np.stack([read_image(sample.path, SIZE) for sample in samples]).astype(np.float32) / 255
    cells = pictures.reshape(len(samples), CELLS, SIZE // CELLS, CELLS, SIZE // CELLS, 3).mean(axis=(2, 4))
    features = np.hstack([cells.reshape(len(samples), -1), np.ones((len(samples), 1))])
    wanted = CERTAINTY * np.eye(len(CLASSES))[[sample.label for sample in samples]]
    ridge = 1e-3 * np.eye(features.shape[1])
    return np.linalg.solve(features.T @ features + ridge, features.T @ wanted).astype(np.float32)


def write_colour_model(
    folder: Path,
    weights: np.ndarray,
    *,
    name: str,
    split_digest: str,
    golden_off: float = 0.0,
    fusion: Fusion | None = None,
) -> Artifact:
    """An artifact that OpenVINO serves; `golden_off` is added to one recorded logit."""
    files = dict.fromkeys(REQUIRED_FILES, name.encode()) | _openvino_files(weights) | {REPORT: b"{}"}
    files[OUT_OF_DISTRIBUTION] = Detector(
        np.zeros(NUMBERS, np.float32), np.eye(NUMBERS, 1, dtype=np.float32)
    ).to_bytes()
    images = np.random.default_rng(3).integers(0, 256, (4, SIZE, SIZE, 3), np.uint8)
    logits = openvino.compile_model(_network(weights), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(images)[0]
    logits[0, 0] += golden_off
    stream = io.BytesIO()
    np.savez(stream, images=images, logits=logits)
    files[GOLDEN] = stream.getvalue()
    training = Training(
        data="painted",
        data_digest="0" * 64,
        split_digest=split_digest,
        images=1,
        epochs=1,
        seeds=(1,),
        seconds=1.0,
    )
    manifest = tiny_manifest(name=name).model_copy(
        update={
            "network": Network(name="baseline_cnn", parameters={"input_size": SIZE, "classes": 7}),
            "input_size": SIZE,
            "out_of_distribution": ANYTHING_GOES,
            "training": training,
            "fusion": fusion,
            "files": describe_files(files),
        }
    )
    for file, content in {**files, MANIFEST: manifest.to_bytes()}.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content)
    return read_artifact(folder, expected_digest=manifest.digest, verify_key=None)


def _network(weights: np.ndarray) -> openvino.Model:
    image = ops.parameter([-1, SIZE, SIZE, 3], np.uint8, name="images")
    scaled = ops.divide(ops.convert(image, "f32"), np.float32(255))
    step = SIZE // CELLS
    cells = ops.reduce_mean(
        ops.reshape(scaled, np.array([0, CELLS, step, CELLS, step, 3]), special_zero=True),
        np.array([2, 4]),
        keep_dims=False,
    )
    embedding = ops.reshape(cells, np.array([0, NUMBERS]), special_zero=True)
    logits = ops.add(ops.matmul(embedding, weights[:-1], False, False), weights[-1])
    cam = ops.matmul(cells, np.ones((3, len(CLASSES)), np.float32), False, False)
    outputs = {"logits": logits, "embedding": embedding, "cam": cam}
    for output, node in outputs.items():
        node.output(0).tensor.set_names({output})
    return openvino.Model([ops.result(node) for node in outputs.values()], [image])


def _openvino_files(weights: np.ndarray) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        openvino.save_model(_network(weights), path, compress_to_fp16=False)
        return {OPENVINO_XML: path.read_bytes(), OPENVINO_BIN: path.with_suffix(".bin").read_bytes()}
