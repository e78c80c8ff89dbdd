"""EfficientNet-Lite: EfficientNet without squeeze-excitation and with ReLU6, made for CPUs and integers.

Architecture: Tan & Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (ICML
2019, arXiv:1905.11946), in the Lite variant of the authors' repository. The published ImageNet weights were
trained with TensorFlow's "same" padding, which on a strided convolution pads the far sides more than the near
ones (docs/adr/0011-same-padding.md).
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import keras

from dermabatch.networks.class_activation import ClassActivationHead

STEM_FILTERS: Final = 32  # Lite scales neither stem nor head with the width
HEAD_FILTERS: Final = 1280
DROPOUT: Final = 0.2
DROP_CONNECT: Final = 0.2  # share of the images that skip the last block in training, fewer skip earlier ones
NORM_EPSILON: Final = 1e-3  # of the published checkpoints


@dataclass(frozen=True, slots=True)
class Scaling:
    """How many times as wide and as deep as lite0 a member of the family is."""

    width: float
    depth: float


@dataclass(frozen=True, slots=True)
class Stage:
    """A run of inverted bottleneck blocks; only the first has the stride."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    filters: int


STAGES: Final = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


def efficientnet_lite(scaling: Scaling, *, input_size: int, classes: int) -> keras.Model:
    """An untrained network.

    Args:
        scaling: the member of the family.
        input_size: edge S of the square input in pixels, at least 32.
        classes: length C of the logits.

    Returns:
        Model from [N, S, S, 3], RGB, 0 to 255, uint8 or float, to the outputs of `ClassActivationHead`.
    """
    image = keras.Input((input_size, input_size, 3), name="image")
    x = keras.layers.Rescaling(1 / 128, offset=-127 / 128, name="scale")(image)
    x = _convolution(x, "stem", STEM_FILTERS, kernel=3, stride=2)
    blocks = _blocks(scaling)
    for number, block in enumerate(blocks):
        x = _inverted_bottleneck(x, f"block_{number}", block, DROP_CONNECT * number / len(blocks))
    x = _convolution(x, "head", HEAD_FILTERS)
    return keras.Model(image, ClassActivationHead(classes, DROPOUT, name="classifier")(x))


def _blocks(scaling: Scaling) -> list[Stage]:
    """Every block of the network as a stage of one repeat."""
    blocks = []
    for position, stage in enumerate(STAGES):
        scaled = position not in (0, len(STAGES) - 1)  # Lite keeps the first and the last stage at one block
        repeats = math.ceil(stage.repeats * scaling.depth) if scaled else stage.repeats
        filters = _scaled_filters(stage.filters, scaling.width)
        for repeat in range(repeats):
            blocks.append(
                Stage(1, stage.kernel, stage.stride if repeat == 0 else 1, stage.expansion, filters)
            )
    return blocks


def _scaled_filters(filters: int, width: float) -> int:
    """The nearest multiple of 8 that is at least 90 % of `filters * width`."""
    scaled = filters * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * scaled else rounded + 8


def _inverted_bottleneck(x: Any, name: str, block: Stage, dropped: float) -> Any:
    shortcut = x
    if block.expansion > 1:
        x = _convolution(x, f"{name}_expand", x.shape[-1] * block.expansion)
    x = _depthwise(x, f"{name}_depthwise", block.kernel, block.stride)
    x = _convolution(x, f"{name}_project", block.filters, relu=False)
    if block.stride == 1 and shortcut.shape[-1] == block.filters:
        x = keras.layers.Dropout(dropped, noise_shape=(None, 1, 1, 1), name=f"{name}_drop")(x)
        x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return x


def _convolution(
    x: Any, name: str, filters: int, *, kernel: int = 1, stride: int = 1, relu: bool = True
) -> Any:
    x = keras.layers.Conv2D(filters, kernel, stride, "same", use_bias=False, name=f"{name}_conv")(x)
    return _normalize(x, name, relu)


def _depthwise(x: Any, name: str, kernel: int, stride: int) -> Any:
    x = keras.layers.DepthwiseConv2D(kernel, stride, "same", use_bias=False, name=f"{name}_conv")(x)
    return _normalize(x, name, relu=True)


def _normalize(x: Any, name: str, relu: bool) -> Any:
    x = keras.layers.BatchNormalization(epsilon=NORM_EPSILON, name=f"{name}_norm")(x)
    return keras.layers.ReLU(max_value=6, name=f"{name}_relu")(x) if relu else x


efficientnet_lite0 = partial(efficientnet_lite, Scaling(width=1.0, depth=1.0))
efficientnet_lite1 = partial(efficientnet_lite, Scaling(width=1.0, depth=1.1))
efficientnet_lite2 = partial(efficientnet_lite, Scaling(width=1.1, depth=1.2))
