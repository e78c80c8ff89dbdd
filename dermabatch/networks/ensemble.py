"""Several networks of one architecture that answer as one: their logits are averaged.

The averaging needs no step of its own. The features of the members stand side by side before one head, whose weights
are those of the members' heads divided by their number; so map, embedding and logits stay as exact as with one network.
Source: Lakshminarayanan et al., "Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles" (NeurIPS
2017), here averaging before the softmax.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from dermabatch.networks import build
from dermabatch.networks.class_activation import ClassActivationHead

HEAD = "classifier"


def ensemble(*, of: str, members: int, input_size: int, classes: int) -> keras.Model:
    """An untrained ensemble; `average` fills it.

    Args:
        of: architecture of each member, another key of `ARCHITECTURES`.
        members: how many.
        input_size: edge S of the square input in pixels.
        classes: length C of the logits.

    Returns:
        Model from [N, S, S, 3], RGB, 0 to 255, uint8 or float, to the outputs of `ClassActivationHead`, with D times
        `members` numbers in the embedding.

    Raises:
        ArtifactRefused: no such architecture.
    """
    image = keras.Input((input_size, input_size, 3), name="image")
    one = build(of, {"input_size": input_size, "classes": classes})
    features = [_features(one, _prefix(member), image) for member in range(members)]
    together = keras.layers.Concatenate(name="features")(features)
    return keras.Model(
        image, ClassActivationHead(classes, one.get_layer(HEAD).dropout.rate, name=HEAD)(together)
    )


def average(network: keras.Model, members: Sequence[keras.Model]) -> None:
    """Give the ensemble `network` the weights of its trained members."""
    weights: dict[str, npt.NDArray[Any]] = {
        _prefix(member) + weight.path: keras.ops.convert_to_numpy(weight)
        for member, trained in enumerate(members)
        for weight in trained.weights
    }
    kernels, biases = (
        [weights[f"{_prefix(member)}{HEAD}/{part}"] for member in range(len(members))]
        for part in ("kernel", "bias")
    )
    weights[f"{HEAD}/kernel"] = np.concatenate(kernels) / len(members)
    weights[f"{HEAD}/bias"] = np.mean(biases, axis=0)
    for weight in network.weights:
        weight.assign(weights[weight.path])


def _features(network: keras.Model, prefix: str, image: Any) -> Any:
    """A fresh copy of `network` up to its head, applied to `image`; its layers have names of their own."""

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        return type(layer).from_config({**layer.get_config(), "name": prefix + layer.name})

    body = keras.Model(network.inputs[0], network.get_layer(HEAD).input)
    return keras.models.clone_model(body, input_tensors=image, clone_function=copy).output


def _prefix(member: int) -> str:
    return f"member_{member}_"
