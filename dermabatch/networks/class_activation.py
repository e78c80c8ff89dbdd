"""The end of every network: pooling, one linear layer, and the map that shows where its answer comes from."""

from typing import Any

import keras


class ClassActivationHead(keras.layers.Layer):  # type: ignore[misc]
    """Global average pooling and a linear classifier that also returns its class activation map.

    The same weights W and b make both: `logits = mean over space of (features . W) + b = mean(cam) + b`, so
    the map is exact, and equal to Grad-CAM before its ReLU up to the factor 1 / (h w). Source: Zhou et al.,
    "Learning Deep Features for Discriminative Localization" (CVPR 2016).

    Input: features float32[N, h, w, D].
    Output: a dict of logits float32[N, C], embedding float32[N, D], cam float32[N, h, w, C].
    """

    def __init__(self, classes: int, dropout: float, **options: Any) -> None:
        super().__init__(**options)
        self.classes = classes
        self.dropout = keras.layers.Dropout(dropout)

    def get_config(self) -> dict[str, Any]:
        """What makes this layer again, under the same name, as `keras.models.clone_model` does."""
        return {**super().get_config(), "classes": self.classes, "dropout": self.dropout.rate}

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make W of shape [D, C] and b of shape [C]."""
        self.kernel = self.add_weight(
            shape=(input_shape[-1], self.classes), initializer="glorot_uniform", name="kernel"
        )
        self.bias = self.add_weight(shape=(self.classes,), initializer="zeros", name="bias")

    def call(self, features: Any, training: bool = False) -> dict[str, Any]:
        """Classify; dropout acts in training only."""
        embedding = keras.ops.mean(features, axis=(1, 2))
        logits = keras.ops.matmul(self.dropout(embedding, training=training), self.kernel) + self.bias
        return {"logits": logits, "embedding": embedding, "cam": keras.ops.matmul(features, self.kernel)}
