"""Models whose reasons are known, because they are written down here."""

import keras
import numpy as np
import numpy.typing as npt

from dermabatch.explain.absence import Image, absent
from dermabatch.networks.class_activation import ClassActivationHead
from dermabatch.taxonomy import CLASSES

SIZE = 64
CELL = 8
SPOT = (slice(8, 24), slice(36, 52))
"""Rows and columns of the one red thing in `picture_with_a_spot`, well off the centre."""

MELANOMA = CLASSES.index("mel")


def picture_with_a_spot() -> Image:
    picture = np.full((SIZE, SIZE, 3), 120, np.uint8)
    picture += np.random.default_rng(0).integers(
        0, 16, (SIZE, SIZE, 1), np.uint8
    )  # something to cut into superpixels
    picture[SPOT] = (220, 40, 40)
    return picture


def redness_network() -> keras.Model:
    """Melanoma is what is red; the other classes have no reasons at all."""
    image = keras.Input((SIZE, SIZE, 3), name="image")
    redness = keras.layers.Conv2D(1, 1, activation="relu", name="redness")(image)
    places = keras.layers.AveragePooling2D(CELL)(redness)
    network = keras.Model(image, ClassActivationHead(len(CLASSES), 0.0, name="classifier")(places))
    network.get_layer("redness").set_weights([np.float32([[[[1], [-0.5], [-0.5]]]]) / 255, np.zeros(1)])
    kernel = np.zeros((1, len(CLASSES)), np.float32)
    kernel[0, MELANOMA] = 100  # a score of 0.9 where the whole spot is there
    network.get_layer("classifier").set_weights([kernel, np.zeros(len(CLASSES))])
    return network


def quilt() -> Image:
    """Patches of one colour each, so that nearly every pixel differs from its blur: any version shows what is left."""
    random = np.random.default_rng(1)
    patches = random.integers(0, 256, (SIZE // CELL, SIZE // CELL, 3), np.uint8)
    return np.kron(patches, np.ones((CELL, CELL, 1), np.uint8))


def what_is_left(images: Image, areas: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """The share of each area that versions of `quilt` keep, float64[N, areas]; areas int64[S, S] from 0."""
    telling = (quilt() != absent(quilt())).any(axis=-1)
    kept = (images == quilt()).all(axis=-1) & telling
    members = np.eye(areas.max() + 1)[areas.ravel()] * telling.reshape(-1, 1)
    return kept.reshape(len(images), -1) @ members / members.sum(axis=0)
