"""Networks that Keras itself defines, here without their classifiers for 1,000 classes.

Sources: He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016); Tan & Le, "EfficientNetV2: Smaller
Models and Faster Training" (ICML 2021); Liu et al., "A ConvNet for the 2020s" (CVPR 2022).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

import keras

from dermabatch.networks import convnext
from dermabatch.networks.class_activation import ClassActivationHead

DROPOUT: Final = 0.2


@dataclass(frozen=True, slots=True)
class Application:
    """One network of `keras.applications`, and how it wants RGB from 0 to 255 prepared."""

    constructor: Callable[..., keras.Model]
    preprocess: Callable[[Any], Any]

    def features(self, input_size: int, weights: Literal["imagenet"] | None) -> keras.Model:
        """The network from image [N, S, S, 3] to features [N, h, w, D]. Keras downloads `imagenet` where it must."""
        image = keras.Input((input_size, input_size, 3), name="image")
        return self.constructor(include_top=False, weights=weights, input_tensor=self.preprocess(image))


APPLICATIONS: Final = {
    "resnet50": Application(keras.applications.ResNet50, keras.applications.resnet.preprocess_input),
    "efficientnet_v2b0": Application(
        keras.applications.EfficientNetV2B0, keras.applications.efficientnet_v2.preprocess_input
    ),
    "convnext_tiny": Application(convnext.convnext_tiny, keras.applications.convnext.preprocess_input),
}


def keras_application(application: Application, *, input_size: int, classes: int) -> keras.Model:
    """An untrained network.

    Args:
        application: which one.
        input_size: edge S of the square input in pixels, at least 32.
        classes: length C of the logits.

    Returns:
        Model from [N, S, S, 3], RGB, 0 to 255, uint8 or float, to the outputs of `ClassActivationHead`. Its weights
        are those of `application.features`, in the same order, and then the classifier's.
    """
    features = application.features(input_size, weights=None)
    head = ClassActivationHead(classes, DROPOUT, name="classifier")
    return keras.Model(features.inputs[0], head(features.output))


resnet50 = partial(keras_application, APPLICATIONS["resnet50"])
efficientnet_v2b0 = partial(keras_application, APPLICATIONS["efficientnet_v2b0"])
convnext_tiny = partial(keras_application, APPLICATIONS["convnext_tiny"])
