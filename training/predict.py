"""Asks a Keras network, without training it."""

from collections.abc import Callable
from typing import Final

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from training.data import Pixels
from training.sampling import Positions

BATCH: Final = 64

Progress = Callable[[int], None]


class Predictor:
    """One network, compiled once; later changes of its weights are seen."""

    def __init__(self, network: keras.Model) -> None:
        """Prepare to ask `network` about images of its size."""
        images = tf.TensorSpec((None, *network.input_shape[1:]), tf.uint8)
        self._answer = tf.function(lambda images: network(images, training=False), input_signature=[images])

    def __call__(
        self, pixels: Pixels, positions: Positions, progress: Progress = lambda done: None
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Logits float32[n, 7] and embedding float32[n, D] for the images at `positions` of uint8[N, S, S, 3].

        `progress` hears how many are done.
        """
        logits, embedding = [], []
        for start in range(0, len(positions), BATCH):
            answer = self._answer(np.ascontiguousarray(pixels[positions[start : start + BATCH]]))
            logits.append(answer["logits"].numpy())
            embedding.append(answer["embedding"].numpy())
            progress(min(start + BATCH, len(positions)))
        return np.concatenate(logits), np.concatenate(embedding)
