"""Inference on the cores of a CPU with OpenVINO."""

from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Final

import numpy as np
import openvino

from dermabatch.artifacts import read_member
from dermabatch.cores import available_cores
from dermabatch.engines.base import EngineOutput, Images, Precision, check_images
from dermabatch.engines.lanes import Lanes
from dermabatch.errors import ArtifactRefused
from dermabatch.manifest import OPENVINO_BIN, OPENVINO_INT8_BIN, OPENVINO_INT8_XML, OPENVINO_XML, Manifest

MICRO_BATCH: Final = 1
"""Images an inference gets. Measured for EfficientNet-Lite0 in fp32 on Zen 5, CPU-milliseconds per image:
9.1 with 1, 9.4 with 2, 10.2 with 4, 10.8 with 8, 11.3 with 16: the activations of one image fit the L2 cache."""

_FIRST_INFERENCE = Lock()
"""Held by whoever may be the first in this process to infer. OpenVINO's binding (2026.4) then fills static variables
and drops the GIL meanwhile, so that two threads that come first together can wait for each other for ever."""


class OpenVinoEngine:
    """See `Engine`. One stream a core, in throughput mode.

    Args:
        folder: of a verified artifact.
        manifest: its manifest.
        precision: of the arithmetic; other than f32 only where the manifest says that it passed.

    Raises:
        ArtifactRefused: a file changed since it was verified, or is no network in OpenVINO's own format.
    """

    def __init__(self, folder: Path, manifest: Manifest, precision: Precision = "f32") -> None:
        name = "fp32" if precision == "f32" else precision
        self.name = f"openvino {openvino.__version__.split('-')[0]} cpu {name}"
        self.input_size = manifest.input_size
        files = (
            (OPENVINO_INT8_XML, OPENVINO_INT8_BIN) if precision == "int8" else (OPENVINO_XML, OPENVINO_BIN)
        )
        model = _read_model(*(read_member(folder, manifest, file) for file in files))
        # A fixed shape: with an open one inference takes up to three times as long.
        model.reshape([MICRO_BATCH, self.input_size, self.input_size, 3])
        cores = available_cores()
        compiled = openvino.Core().compile_model(
            model,
            "CPU",
            {
                "PERFORMANCE_HINT": "THROUGHPUT",
                # Without it OpenVINO computes in bf16 wherever the processor can: up to 0.2 off in a probability.
                # What int8 leaves out of its integers is computed in full precision.
                "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
                "NUM_STREAMS": cores,
                "INFERENCE_NUM_THREADS": cores,
            },
        )
        # Plain requests in threads of our own: an AsyncInferQueue that dies shortly before exit aborts the process.
        requests = [compiled.create_infer_request() for _ in range(cores)]
        with _FIRST_INFERENCE:
            _infer(requests[0], np.zeros((MICRO_BATCH, self.input_size, self.input_size, 3), np.uint8))
        self._lanes = Lanes([partial(_infer, request) for request in requests], MICRO_BATCH, "openvino")

    def run(
        self, images: Images, metadata: Mapping[str, Any] | None = None, *, priority: int = 0
    ) -> EngineOutput:
        """See `Engine.run`."""
        check_images(images, self.input_size)
        return self._lanes.run(images, priority)

    def close(self) -> None:
        """See `Engine.close`."""
        self._lanes.close()


def native_precisions() -> frozenset[Precision]:
    """What the processor computes in its own instructions; the others it would only imitate."""
    capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    known: dict[str, Precision] = {"FP32": "f32", "BF16": "bf16", "INT8": "int8"}
    return frozenset(known[name] for name in capabilities if name in known)


def _read_model(xml: bytes, weights: bytes) -> openvino.Model:
    """The network in two files of OpenVINO's own format, from memory.

    Raises:
        ArtifactRefused: they are something else.
    """
    # Left to itself OpenVINO finds out by the bytes which of its readers fits, and that of ONNX opens further files.
    if not xml.lstrip().startswith((b"<?xml", b"<net")):
        raise ArtifactRefused(f"Expected the XML of OpenVINO. Received: {xml[:20]!r}...")
    try:
        model = openvino.Core().read_model(xml, weights)
    except RuntimeError as error:
        why = str(error).strip().splitlines()
        raise ArtifactRefused(f"Expected a network that OpenVINO reads. Received: {why[-1]}") from None
    named = {name for output in model.outputs for name in output.names}
    if missing := {field.name for field in fields(EngineOutput)} - named:
        raise ArtifactRefused(f"Expected a network with outputs {sorted(missing)}. Received: {sorted(named)}")
    return model


def _infer(request: openvino.InferRequest, images: Images) -> EngineOutput:
    request.infer([images], share_inputs=True)
    # Copies: the request writes its next answer into the same memory.
    return EngineOutput(
        logits=request.get_tensor("logits").data.copy(),
        embedding=request.get_tensor("embedding").data.copy(),
        cam=request.get_tensor("cam").data.copy(),
    )
