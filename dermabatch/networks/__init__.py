"""The architectures that `dermabatch.architectures` names, in Keras 3 and free of calls into one backend."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import keras

from dermabatch.architectures import ARCHITECTURES
from dermabatch.errors import ArtifactRefused


def build(name: str, parameters: Mapping[str, Any]) -> keras.Model:
    """Build an untrained network from what a manifest says of it.

    Args:
        name: a key of `ARCHITECTURES`.
        parameters: the builder's arguments, `input_size` and `classes` for all of them.

    Returns:
        Model from [N, S, S, 3], RGB, 0 to 255, uint8 or float32, to a dict of logits float32[N, C],
        embedding float32[N, D] and cam float32[N, h, w, C].

    Raises:
        ArtifactRefused: no such network, or parameters it does not take.
    """
    if name not in ARCHITECTURES:
        raise ArtifactRefused(f"Expected a network out of {', '.join(ARCHITECTURES)}. Received: {name}")
    module, function = ARCHITECTURES[name].builder.split(":")
    builder = getattr(import_module(f"{__name__}.{module}"), function)
    try:
        network: keras.Model = builder(**parameters)
    except TypeError as error:
        raise ArtifactRefused(f"The network {name} was given parameters it does not take: {error}") from error
    return network
