"""Grad-CAM: the class activation map of a network that need not end in pooling and one linear layer.

Source: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization" (ICCV
2017). Their last step, a ReLU, is left to whoever draws: what speaks against the class has its order too.
"""

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from dermabatch.explain.absence import Image
from dermabatch.explain.errors import CannotExplain


def gradcam(network: keras.Model, image: Image, target: int) -> npt.NDArray[np.float32]:
    """The last spatial features, weighted by how much their means move the logit of the class, float32[h, w].

    Args:
        network: of `dermabatch.networks`, on TensorFlow.
        image: uint8[S, S, 3].
        target: index of the class.

    Raises:
        CannotExplain: the network keeps no places apart, or runs on another framework.
    """
    if keras.backend.backend() != "tensorflow":
        raise CannotExplain(f"Grad-CAM expects Keras on TensorFlow. Received: {keras.backend.backend()}")
    with_features = keras.Model(network.inputs, [_last_spatial_features(network), network.output])
    with tf.GradientTape() as tape:
        batch = tf.constant(image[None], tf.float32)
        tape.watch(batch)
        features, output = with_features(batch, training=False)
        logit = output["logits"][0, target]
    weights = tf.reduce_mean(tape.gradient(logit, features), axis=(1, 2), keepdims=True)
    grid: npt.NDArray[np.float32] = tf.reduce_sum(weights * features, axis=-1)[0].numpy()
    return grid


def _last_spatial_features(network: keras.Model) -> keras.KerasTensor:
    """[N, h, w, D], the output of the last layer before the places are averaged or flattened away."""
    for layer in reversed(network.layers[1:]):
        if isinstance(layer.output, keras.KerasTensor) and len(layer.output.shape) == 4:
            return layer.output
    raise CannotExplain(
        f"Grad-CAM expects a layer with an output of [N, h, w, D]. Received: {network.name}, which has none."
    )
