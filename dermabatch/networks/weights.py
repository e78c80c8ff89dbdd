"""Weights of a network as safetensors: float32 tensors named by Keras variable path, and no code."""

import keras
import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from dermabatch.errors import ArtifactRefused


def save_weights(network: keras.Model) -> bytes:
    """Every weight of `network`, moving averages included, and none of its random state."""
    return save({weight.path: _array(weight) for weight in network.weights})


def load_weights(network: keras.Model, content: bytes) -> None:
    """Fill `network` from the bytes that `save_weights` made of one of the same architecture.

    Raises:
        ArtifactRefused: not safetensors, or its names, shapes or types are not those of `network`.
    """
    try:
        tensors: dict[str, npt.NDArray[np.float32]] = load(content)
    except SafetensorError as error:
        raise ArtifactRefused(f"Expected weights as safetensors. Received: {error}") from None
    expected = {(weight.path, tuple(weight.shape), "float32") for weight in network.weights}
    received = {(path, tensor.shape, str(tensor.dtype)) for path, tensor in tensors.items()}
    if odd := sorted(expected ^ received, key=str):
        raise ArtifactRefused(
            f"Expected the weights of {network.name}. Received: other ones; the first odd one is {odd[0]}"
        )
    for weight in network.weights:
        weight.assign(tensors[weight.path])


def _array(weight: keras.Variable) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(keras.ops.convert_to_numpy(weight), np.float32)
