"""The architectures a manifest can name, in Keras 3 and free of calls into one backend.

Adding a network is one file with a builder, and one line in `BUILDERS`.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import keras

from dermabatch.errors import ArtifactRefused
from dermabatch.networks.baseline_cnn import baseline_cnn
from dermabatch.networks.efficientnet_lite import SCALINGS, efficientnet_lite

BUILDERS: Final[dict[str, Callable[..., keras.Model]]] = {
    "baseline_cnn": baseline_cnn,
    **{name: partial(efficientnet_lite, scaling) for name, scaling in SCALINGS.items()},
}


def build(name: str, parameters: Mapping[str, Any]) -> keras.Model:
    """Build an untrained network from what a manifest says of it.

    Args:
        name: a key of `BUILDERS`.
        parameters: the builder's arguments, `input_size` and `classes` for all of them.

    Returns:
        Model from [N, S, S, 3], RGB, 0 to 255, uint8 or float32, to a dict of logits float32[N, C],
        embedding float32[N, D] and cam float32[N, h, w, C].

    Raises:
        ArtifactRefused: no such network, or parameters it does not take.
    """
    if name not in BUILDERS:
        raise ArtifactRefused(f"Expected a network out of {', '.join(BUILDERS)}. Received: {name}")
    try:
        return BUILDERS[name](**parameters)
    except TypeError as error:
        raise ArtifactRefused(f"The network {name} was given parameters it does not take: {error}") from error
