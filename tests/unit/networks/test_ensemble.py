"""Networks that answer as one."""

import keras
import numpy as np
import pytest

from dermabatch.errors import ArtifactRefused
from dermabatch.networks import build
from dermabatch.networks.ensemble import average
from tests.unit.networks.conftest import CLASSES, EDGE

ONE = {"input_size": EDGE, "classes": CLASSES}


def trained(seed):
    keras.utils.set_random_seed(seed)
    network = build("baseline_cnn", ONE)
    rng = np.random.default_rng(seed)
    for weight in network.weights:
        weight.assign(weight + rng.uniform(0, 0.1, weight.shape))
    return network


@pytest.fixture(scope="module")
def members():
    return [trained(seed) for seed in (1, 2, 3)]


@pytest.fixture(scope="module")
def together(members):
    network = build("ensemble", {"of": "baseline_cnn", "members": 3, **ONE})
    average(network, members)
    return network


@pytest.mark.parametrize("output", ["logits", "cam"])
def test_an_ensemble_says_what_its_members_say_on_average(members, together, images, output):
    each = [member(images)[output].numpy() for member in members]

    assert np.abs(each[0] - each[1]).max() > 0.01  # or averaging would prove nothing
    bias = np.mean([member.get_layer("classifier").bias.numpy() for member in members], axis=0)
    assert np.abs(bias).max() > 0.01
    np.testing.assert_allclose(together(images)[output], np.mean(each, axis=0), rtol=1e-4, atol=1e-5)


def test_its_embedding_holds_those_of_all_members_side_by_side(members, together, images):
    each = [member(images)["embedding"].numpy() for member in members]

    np.testing.assert_allclose(together(images)["embedding"], np.concatenate(each, axis=1), rtol=1e-5)


def test_members_of_no_known_architecture_are_refused():
    with pytest.raises(ArtifactRefused, match="perceptron"):
        build("ensemble", {"of": "perceptron", "members": 2, **ONE})
