"""Inference on the cores of a CPU with OpenVINO."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Final

import numpy as np
import openvino

from dermabatch.artifacts import OPENVINO_BIN, OPENVINO_XML, Manifest, read_member
from dermabatch.cores import available_cores
from dermabatch.engines.base import EngineOutput, Images, check_images
from dermabatch.engines.lanes import Lanes

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

    Raises:
        ArtifactRefused: a file changed since it was verified.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.name = f"openvino {openvino.__version__.split('-')[0]} cpu fp32"
        self.input_size = manifest.input_size
        model = openvino.Core().read_model(
            read_member(folder, manifest, OPENVINO_XML), read_member(folder, manifest, OPENVINO_BIN)
        )
        # A fixed shape: with an open one inference takes up to three times as long.
        model.reshape([MICRO_BATCH, self.input_size, self.input_size, 3])
        cores = available_cores()
        compiled = openvino.Core().compile_model(
            model,
            "CPU",
            {
                "PERFORMANCE_HINT": "THROUGHPUT",
                # Without it OpenVINO computes in bf16 wherever the processor can: up to 0.2 off in a probability.
                "INFERENCE_PRECISION_HINT": "f32",
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


def _infer(request: openvino.InferRequest, images: Images) -> EngineOutput:
    request.infer([images], share_inputs=True)
    # Copies: the request writes its next answer into the same memory.
    return EngineOutput(
        logits=request.get_tensor("logits").data.copy(),
        embedding=request.get_tensor("embedding").data.copy(),
        cam=request.get_tensor("cam").data.copy(),
    )
