"""What each method says of models whose reasons are known."""

from itertools import product

import keras
import numpy as np
import pytest

from dermabatch.explain import CannotExplain, ExplainedModel, Method, explain
from dermabatch.explain.gradcam import gradcam
from dermabatch.explain.lime import lime, superpixels
from dermabatch.explain.shapley import shapley
from dermabatch.networks import build
from tests.unit.explain.toy_models import (
    MELANOMA,
    SIZE,
    SPOT,
    picture_with_a_spot,
    quilt,
    redness_network,
    what_is_left,
)


@pytest.mark.parametrize("method", Method)
def test_every_method_finds_the_spot_that_alone_drives_the_class(method):
    saliency = explain(ExplainedModel.of_network(redness_network()), picture_with_a_spot(), method, MELANOMA)

    inside = np.zeros((SIZE, SIZE), bool)
    inside[SPOT] = True
    assert saliency.shape == (SIZE, SIZE)
    assert inside[np.unravel_index(saliency.argmax(), saliency.shape)]
    assert saliency[inside].mean() > 10 * abs(saliency[~inside].mean())


@pytest.mark.parametrize("method", Method)
def test_a_method_says_the_same_when_it_is_asked_again(method):
    model, picture = ExplainedModel.of_network(redness_network()), picture_with_a_spot()
    first, second = (explain(model, picture, method, MELANOMA) for _ in range(2))
    assert np.array_equal(first, second)


KERAS_APPLICATIONS = ("resnet50", "efficientnet_v2b0", "convnext_tiny")


@pytest.mark.parametrize(
    "name",
    [
        "baseline_cnn",
        "efficientnet_lite0",
        *(pytest.param(name, marks=pytest.mark.long) for name in KERAS_APPLICATIONS),
    ],
)
def test_grad_cam_is_the_class_activation_map_up_to_the_number_of_cells(name):
    network = build(name, {"input_size": 96, "classes": 7})
    cam = ExplainedModel.of_network(network).cam(picture := noise_image(96))[0, :, :, MELANOMA]
    assert cam.size > 1
    np.testing.assert_allclose(
        gradcam(network, picture[0], MELANOMA), cam / cam.size, rtol=1e-3, atol=1e-5 * np.abs(cam).max()
    )


def noise_image(size):
    return np.random.default_rng(2).integers(0, 256, (1, size, size, 3), np.uint8)


def test_grad_cam_follows_the_gradient_through_a_hidden_layer():
    image = keras.Input((8, 8, 3), name="image")
    features = keras.layers.Conv2D(4, 1, activation="relu", name="features")(image)
    hidden = keras.layers.Dense(5, activation="relu", name="hidden")(keras.ops.mean(features, axis=(1, 2)))
    network = keras.Model(image, {"logits": keras.layers.Dense(7, name="last")(hidden)})
    picture = noise_image(8)

    seen = keras.ops.convert_to_numpy(keras.Model(image, features)(picture.astype(np.float32)))[0]
    inner, bias = network.get_layer("hidden").get_weights()
    outer, _ = network.get_layer("last").get_weights()
    active = seen.mean(axis=(0, 1)) @ inner + bias > 0
    weights = inner @ (outer[:, MELANOMA] * active) / 64

    np.testing.assert_allclose(gradcam(network, picture[0], MELANOMA), seen @ weights, rtol=1e-4, atol=1e-6)


def test_grad_cam_refuses_a_network_that_keeps_no_places_apart():
    image = keras.Input((8, 8, 3), name="image")
    network = keras.Model(
        image, {"logits": keras.layers.Dense(7)(keras.layers.Flatten()(image))}, name="flat"
    )
    with pytest.raises(CannotExplain, match="flat, which has none"):
        gradcam(network, noise_image(8)[0], MELANOMA)


def test_lime_recovers_the_coefficients_of_a_linear_model():
    picture = quilt()
    segments = superpixels(picture)
    truth = np.random.default_rng(3).normal(size=segments.max() + 1)

    def predict(images):
        return np.repeat((what_is_left(images, segments) @ truth)[:, None], 7, axis=1)

    found = lime(predict, picture, MELANOMA, evaluations=500, seed=0)
    np.testing.assert_allclose(found, truth[segments], atol=0.1)
    assert np.corrcoef(found.ravel(), truth[segments].ravel())[0, 1] > 0.999


QUARTERS = np.kron([[0, 1], [2, 3]], np.ones((SIZE // 2, SIZE // 2), np.int64))


def test_shap_shares_among_the_quarters_of_a_picture_are_owen_values_by_exact_enumeration():
    """Of any game of four players in two pairs, here one drawn at random."""
    worth = np.random.default_rng(4).normal(size=(2, 2, 2, 2))

    def predict(images):
        there = (what_is_left(images, QUARTERS) > 0.5).astype(int)
        return np.repeat(worth[tuple(there.T)][:, None], 7, axis=1)

    shares = shapley(predict, quilt(), MELANOMA, evaluations=100)

    found = [shares[quarter == QUARTERS].sum() for quarter in range(4)]
    assert sum(found) == pytest.approx(worth[1, 1, 1, 1] - worth[0, 0, 0, 0])
    assert found == pytest.approx(owen_values(worth))


def owen_values(worth):
    """Pairs (0, 1) and (2, 3): a player comes before or after its partner, its pair before or after the other."""
    values = []
    for player in range(4):
        gains = []
        for partner_there, other_pair_there in product((0, 1), repeat=2):
            there = [other_pair_there] * 4
            there[player ^ 1] = partner_there
            there[player] = 1
            with_player = worth[tuple(there)]
            there[player] = 0
            gains.append(with_player - worth[tuple(there)])
        values.append(np.mean(gains))
    return values
