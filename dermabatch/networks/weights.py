"""Weights of a network as a safetensors file: float32 tensors named by Keras variable path, and no code."""

from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from dermabatch.errors import ArtifactRefused


def save_weights(network: keras.Model, path: Path) -> None:
    """Write every weight of `network`, moving averages included, and none of its random state."""
    save_file({weight.path: np.ascontiguousarray(weight.numpy(), np.float32) for weight in network.weights}, path)


def load_weights(network: keras.Model, path: Path) -> None:
    """Fill `network` from a file that holds exactly its weights.

    Raises:
        ArtifactRefused: not a safetensors file, or its names, shapes or types are not those of `network`.
    """
    try:
        tensors: dict[str, npt.NDArray[np.float32]] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ArtifactRefused(f"Expected a safetensors file at {path.name}. Received: {error}") from error
    expected = {weight.path: tuple(weight.shape) for weight in network.weights}
    received = {name: tensor.shape for name, tensor in tensors.items()}
    if expected != received:
        odd = sorted(set(expected.items()) ^ set(received.items()))[0]
        raise ArtifactRefused(f"The weights in {path.name} are not those of {network.name}; the first odd one: {odd}")
    for weight in network.weights:
        weight.assign(tensors[weight.path])
