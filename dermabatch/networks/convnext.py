"""ConvNeXt-Tiny of `keras.applications`, with a name for every weight.

Keras leaves a few of them unnamed and numbers those by what was built before, so that the weights of one process
would not fit the network of another.
"""

from typing import Any

import keras


class LayerScale(keras.layers.Layer):  # type: ignore[misc]
    """Multiplies each channel by a learned factor. Source: Touvron et al., arXiv:2103.17239."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the factors, one a channel; 1e-6 at first, as ConvNeXt has it, so that a block starts as nothing."""
        self.gamma = self.add_weight(
            shape=(input_shape[-1],), initializer=keras.initializers.Constant(1e-6), name="gamma"
        )

    def call(self, features: Any) -> Any:
        """Scale float32[..., C]."""
        return features * self.gamma


def convnext_tiny(**options: Any) -> keras.Model:
    """`keras.applications.ConvNeXtTiny` of these options; its weights have the same order there and here."""
    published = keras.applications.ConvNeXtTiny(**options)
    network: keras.Model = keras.models.clone_model(published, clone_function=_with_named_weights)
    network.set_weights(published.get_weights())
    return network


def _with_named_weights(layer: keras.layers.Layer) -> keras.layers.Layer:
    if type(layer).__name__ == "LayerScale":  # Keras does not export the class
        return LayerScale(name=layer.name)
    config = layer.get_config()
    if layer.name.startswith("layer_normalization"):
        config["name"] = "features_norm"
    return type(layer).from_config(config)
