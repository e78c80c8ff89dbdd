"""Turns a trained network into the files that serve it, as bytes, and proves the two engines' files equal."""

import io
import tempfile
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import openvino
import tensorflow as tf

from dermabatch.manifest import OPENVINO_BIN, OPENVINO_XML
from dermabatch.triage import decision_scores
from training.data import Pixels
from training.errors import EnginesDisagree
from training.metrics import Floats

OUTPUTS: Final = ("logits", "embedding", "cam")
LARGEST_DIFFERENCE: Final = 1e-3  # of a probability, between engines in fp32


def serving_function(network: keras.Model) -> Any:
    """`network` as one compiled graph from uint8[N, S, S, 3] to logits, embedding and cam."""
    _, size, _, channels = network.input_shape
    return tf.function(
        lambda images: network(tf.cast(images, tf.float32), training=False),
        input_signature=[tf.TensorSpec((None, size, size, channels), tf.uint8, name="images")],
    )


def openvino_files(network: keras.Model) -> dict[str, bytes]:
    """The network as OpenVINO IR in full precision, by file name of the artifact."""
    model = openvino.convert_model(serving_function(network))
    for name in OUTPUTS:
        model.output(name).tensor.set_names({name})  # and no names of the graph it came from
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(OPENVINO_XML).name
        openvino.save_model(model, path, compress_to_fp16=False)
        return {OPENVINO_XML: path.read_bytes(), OPENVINO_BIN: path.with_suffix(".bin").read_bytes()}


def golden_file(network: keras.Model, openvino_ir: dict[str, bytes], images: Pixels) -> bytes:
    """Images uint8[N, S, S, 3] and the logits float32[N, 7] that every engine must give for them, as npz.

    Raises:
        EnginesDisagree: OpenVINO in full precision already gives others.
    """
    logits = serving_function(network)(images)["logits"].numpy()
    difference = np.abs(
        decision_scores(logits) - decision_scores(_openvino_logits(openvino_ir, images))
    ).max()
    if not difference < LARGEST_DIFFERENCE:
        raise EnginesDisagree(
            f"Expected probabilities of OpenVINO within {LARGEST_DIFFERENCE} of TensorFlow's. "
            f"Received: {difference:.2g} off"
        )
    stream = io.BytesIO()
    np.savez_compressed(stream, images=images, logits=logits)
    return stream.getvalue()


def _openvino_logits(openvino_ir: dict[str, bytes], images: Pixels) -> Floats:
    core = openvino.Core()
    model = core.read_model(openvino_ir[OPENVINO_XML], openvino_ir[OPENVINO_BIN])
    # Without the hint OpenVINO computes in bf16 wherever the processor can.
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled(images)["logits"]  # type: ignore[no-any-return]
