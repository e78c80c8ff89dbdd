"""Inference with TensorFlow: on a GPU, and as the reference anywhere."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import tensorflow as tf

from dermabatch.artifacts import read_member
from dermabatch.engines.base import EngineOutput, Images, check_images
from dermabatch.engines.lanes import Lanes
from dermabatch.manifest import WEIGHTS, Manifest
from dermabatch.networks import build
from dermabatch.networks.weights import load_weights

BATCH_SHAPES: Final = (1, 8, 64)
"""Sizes that the graph is traced for; a micro-batch is padded to the next. 64 images are a chunk."""

GPU_MICRO_BATCH: Final = 64
CPU_MICRO_BATCH: Final = 8
"""About 0.1 s of computing, the longest that an image somebody waits for stands behind others."""


class TensorFlowEngine:
    """See `Engine`. One micro-batch at a time, on the first GPU or on all cores.

    Args:
        folder: of a verified artifact.
        manifest: its manifest.

    Raises:
        ArtifactRefused: a file changed since it was verified, or holds other weights than the network has.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        # TF32, the default on recent GPUs, keeps 10 bits of each factor: too few to agree with other engines.
        tf.config.experimental.enable_tensor_float_32_execution(False)
        on_gpu = bool(tf.config.list_physical_devices("GPU"))
        self.name = f"tensorflow {tf.__version__} {'gpu' if on_gpu else 'cpu'} fp32"
        self.input_size = manifest.input_size
        network = build(manifest.network.name, manifest.network.parameters)
        load_weights(network, read_member(folder, manifest, WEIGHTS))
        self._network = network  # a traced graph does not keep its variables alive
        micro_batch = GPU_MICRO_BATCH if on_gpu else CPU_MICRO_BATCH
        self._graphs = {size: self._traced(size) for size in BATCH_SHAPES if size <= micro_batch}
        self._lanes = Lanes([self._infer], micro_batch, "tensorflow")

    def run(
        self, images: Images, metadata: Mapping[str, Any] | None = None, *, priority: int = 0
    ) -> EngineOutput:
        """See `Engine.run`."""
        check_images(images, self.input_size)
        return self._lanes.run(images, priority)

    def close(self) -> None:
        """See `Engine.close`."""
        self._lanes.close()

    def _traced(self, size: int) -> Any:
        """The network as one graph from uint8[size, S, S, 3]."""
        images = tf.TensorSpec((size, self.input_size, self.input_size, 3), tf.uint8)
        return tf.function(self._classify).get_concrete_function(images)

    def _classify(self, images: Any) -> Any:
        return self._network(
            tf.cast(images, tf.float32), training=False
        )  # cast on the device: a quarter to copy

    def _infer(self, images: Images) -> EngineOutput:
        size = next(size for size in self._graphs if size >= len(images))
        padded = np.zeros((size, *images.shape[1:]), np.uint8)
        padded[: len(images)] = images
        output = self._graphs[size](tf.constant(padded))
        return EngineOutput(**{name: values.numpy()[: len(images)] for name, values in output.items()})
