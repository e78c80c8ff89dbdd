"""Situations of networks: each of them small, with random weights that tell its parts apart."""

from functools import cache

import keras
import numpy as np
import pytest

from dermabatch.networks import build

EDGE = 64  # pixels; the networks halve it five times
CLASSES = 7
OF_ITS_OWN = {"ensemble": {"of": "baseline_cnn", "members": 2}}


@pytest.fixture(scope="session")
def network_of():
    """Builds a network by name, once a session."""
    return cache(awake_network)


def parameters_of(name):
    """What `build` needs besides the name."""
    return {"input_size": EDGE, "classes": CLASSES, **OF_ITS_OWN.get(name, {})}


def awake_network(name):
    """A network with random weights in which no norm, scale or bias happens to be neutral."""
    keras.utils.set_random_seed(1)
    network = build(name, parameters_of(name))
    rng = np.random.default_rng(1)
    for weight in network.weights:
        if weight.path.rpartition("/")[2] != "kernel":
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return network


@pytest.fixture(scope="session")
def images():
    return np.random.default_rng(2).integers(0, 256, (3, EDGE, EDGE, 3), dtype=np.uint8)
