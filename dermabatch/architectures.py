"""Which networks a manifest can name. Free of frameworks, so that whoever checks a manifest needs none.

Adding a network is one file in `dermabatch/networks/`, and one line here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Architecture:
    """Where a network is built, and the size of images that it was designed for."""

    builder: str
    """module:function below `dermabatch.networks`; takes `input_size` and `classes` by keyword."""
    input_size: int
    """Edge in pixels. Every builder takes others too."""
    made_of_others: bool = False
    """Not trained itself, but made of trained networks."""


ARCHITECTURES: Final[Mapping[str, Architecture]] = MappingProxyType(
    {
        "ensemble": Architecture("ensemble:ensemble", 224, made_of_others=True),
        "baseline_cnn": Architecture("baseline_cnn:baseline_cnn", 224),
        "efficientnet_lite0": Architecture("efficientnet_lite:efficientnet_lite0", 224),
        "efficientnet_lite1": Architecture("efficientnet_lite:efficientnet_lite1", 240),
        "efficientnet_lite2": Architecture("efficientnet_lite:efficientnet_lite2", 260),
        "resnet50": Architecture("keras_applications:resnet50", 224),
        "efficientnet_v2b0": Architecture("keras_applications:efficientnet_v2b0", 224),
        "convnext_tiny": Architecture("keras_applications:convnext_tiny", 224),
    }
)
