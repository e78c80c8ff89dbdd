"""Corrections for imbalance: all of them end at logits for a balanced prior."""

import numpy as np
import pytest
import tensorflow as tf

from training.imbalance import Imbalance, categorical_cross_entropy

PRIOR = np.array([0.7, 0.2, 0.1])


def learned_logits(imbalance, drawn):
    """What a classifier that sees nothing learns, where classes are drawn with the frequencies `drawn`."""
    truth = tf.constant(np.repeat(np.arange(3), np.rint(drawn * 1000).astype(int)), tf.int64)
    logits = tf.Variable(tf.zeros(3))
    loss = categorical_cross_entropy(imbalance, drawn)
    optimizer = tf.keras.optimizers.SGD(1.0)
    for _ in range(300):
        with tf.GradientTape() as tape:
            value = loss(truth, tf.tile(logits[None], (len(truth), 1)))
        optimizer.apply([tape.gradient(value, logits)], [logits])
    return logits.numpy()


@pytest.mark.parametrize("imbalance", [kind for kind in Imbalance if kind is not Imbalance.BALANCED_SAMPLING])
def test_who_knows_nothing_favours_no_class(imbalance):
    logits = learned_logits(imbalance, PRIOR)

    assert np.ptp(logits) < 0.05


def test_balanced_sampling_leaves_the_loss_as_it_is():
    even = np.full(3, 1 / 3)

    assert np.ptp(learned_logits(Imbalance.BALANCED_SAMPLING, even)) < 0.05
    assert np.ptp(learned_logits(Imbalance.BALANCED_SAMPLING, PRIOR)) > 1


def test_focal_loss_cares_less_for_what_is_known_already():
    even = np.full(3, 1 / 3)
    sure = tf.constant([[5.0, 0.0, 0.0]])
    truth = tf.constant([0], tf.int64)

    focal = float(categorical_cross_entropy(Imbalance.FOCAL, even)(truth, sure))
    plain = float(categorical_cross_entropy(Imbalance.CLASS_WEIGHTS, even)(truth, sure))

    assert focal < plain / 100
