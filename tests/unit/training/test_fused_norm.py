"""The network that is trained is the network that is served."""

import keras
import numpy as np
import pytest

from dermabatch.networks import build
from training.fused_norm import FusedBatchNormalization, trainable_copy


@pytest.fixture(scope="module")
def network():
    return build("baseline_cnn", {"input_size": 32, "classes": 7})


def test_a_copy_answers_like_the_original_and_takes_any_size(network):
    copy = trainable_copy(network)
    copy.set_weights(network.get_weights())
    images = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)

    np.testing.assert_allclose(copy(images)["logits"], network(images)["logits"], atol=1e-5)
    assert copy(images[:, :, :16])["logits"].shape == (2, 7)


def test_the_weights_of_a_copy_stand_in_the_same_order(network):
    names = [[weight.name for weight in model.weights] for model in (network, trainable_copy(network))]

    assert names[0] == names[1]


def test_a_training_step_normalizes_like_keras():
    features = np.random.default_rng(2).normal(3, 2, (8, 5, 5, 4)).astype(np.float32)
    plain, fused = keras.layers.BatchNormalization(), FusedBatchNormalization()

    np.testing.assert_allclose(fused(features, training=True), plain(features, training=True), atol=1e-4)
    np.testing.assert_allclose(fused.moving_mean, plain.moving_mean, atol=1e-5)
    np.testing.assert_allclose(fused.moving_variance, plain.moving_variance, atol=1e-3)
