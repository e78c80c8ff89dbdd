"""Four ways to keep a rare class from being drowned by a common one. A run uses exactly one of them.

Each leaves logits that stand for a balanced prior, so that their argmax is the class whatever was chosen.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

FOCUS: Final = 2.0  # the exponent that Lin et al. found best

Loss = Callable[[Any, Any], Any]


class Imbalance(StrEnum):
    """The correction of a run."""

    LOGIT_ADJUSTMENT = (
        "logit_adjustment"  # Menon et al., "Long-tail learning via logit adjustment" (ICLR 2021)
    )
    CLASS_WEIGHTS = "class_weights"  # each image counts by the inverse frequency of its class
    BALANCED_SAMPLING = "balanced_sampling"  # every class is drawn as often
    FOCAL = "focal"  # Lin et al., "Focal Loss for Dense Object Detection" (ICCV 2017), with class weights


def categorical_cross_entropy(imbalance: Imbalance, prior: npt.NDArray[np.float64]) -> Loss:
    """The loss of int64[N] classes and float32[N, 7] logits, where classes are drawn with the frequencies `prior`."""
    adjustment = np.zeros(len(prior))
    weights, focus = np.ones(len(prior)), 0.0
    if imbalance is Imbalance.LOGIT_ADJUSTMENT:
        adjustment = np.log(prior)
    if imbalance in (Imbalance.CLASS_WEIGHTS, Imbalance.FOCAL):
        weights = 1 / (len(prior) * prior)
    if imbalance is Imbalance.FOCAL:
        focus = FOCUS
    adjustments, class_weights = tf.constant(adjustment, tf.float32), tf.constant(weights, tf.float32)

    def loss(truth: Any, logits: Any) -> Any:
        surprise = tf.nn.sparse_softmax_cross_entropy_with_logits(truth, logits + adjustments)
        if focus:
            surprise *= (1 - tf.exp(-surprise)) ** focus
        return tf.reduce_mean(tf.gather(class_weights, truth) * surprise)

    return loss
