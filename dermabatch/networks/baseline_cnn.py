"""A plain convolutional network, trained from nothing: what every other network has to beat."""

from typing import Final

import keras

from dermabatch.networks.class_activation import ClassActivationHead

FILTERS: Final = (32, 64, 128, 256)  # each stage halves the edge and doubles what it can tell apart
DROPOUT: Final = 0.2


def baseline_cnn(*, input_size: int, classes: int) -> keras.Model:
    """An untrained network of four stages: convolution, normalization, pooling.

    Args:
        input_size: edge S of the square input in pixels, at least 16.
        classes: length C of the logits.

    Returns:
        Model from [N, S, S, 3], RGB, 0 to 255, uint8 or float, to the outputs of `ClassActivationHead`.
    """
    image = keras.Input((input_size, input_size, 3), name="image")
    x = keras.layers.Rescaling(1 / 128, offset=-127 / 128, name="scale")(image)
    for number, filters in enumerate(FILTERS):
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"stage_{number}_conv")(x)
        x = keras.layers.BatchNormalization(name=f"stage_{number}_norm")(x)
        x = keras.layers.ReLU(name=f"stage_{number}_relu")(x)
        x = keras.layers.MaxPooling2D(name=f"stage_{number}_pool")(x)
    return keras.Model(image, ClassActivationHead(classes, DROPOUT, name="classifier")(x))
