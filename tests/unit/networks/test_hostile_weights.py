"""What is smuggled in as weights: refused by name, and nothing in it runs or opens another file."""

import json
import pickle
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from safetensors.numpy import save

from dermabatch.errors import ArtifactRefused
from dermabatch.networks import build
from dermabatch.networks.weights import load_weights


@pytest.fixture(scope="module")
def network():
    return build("baseline_cnn", {"input_size": 32, "classes": 7})


class Payload:
    """Whoever unpickles it runs what it says."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def lambda_layer(folder):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Lambda(lambda x: x)])
    model.save(folder / "model.keras")
    return (folder / "model.keras").read_bytes()


def external_link(folder):
    with h5py.File(folder / "weights.h5", "w") as file:
        file["weights"] = h5py.ExternalLink("/etc/passwd", "/")
    return (folder / "weights.h5").read_bytes()


def header(**tensors):
    text = json.dumps(tensors).encode()
    return len(text).to_bytes(8, "little") + text + bytes(4)


def huge_shape(_):
    return header(kernel={"dtype": "F32", "shape": [2**50], "data_offsets": [0, 4]})


def offsets_outside(_):
    return header(kernel={"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]})


def endless_header(_):
    return (2**62).to_bytes(8, "little") + b"{}"


def pickled(folder):
    return pickle.dumps(Payload(folder / "run"))


def other_weights(_):
    return save({"kernel": np.zeros((1, 1), np.float32)})


@pytest.mark.parametrize(
    "crafted",
    [lambda_layer, external_link, huge_shape, offsets_outside, endless_header, pickled, other_weights],
)
def test_what_are_no_weights_of_this_network_is_refused(network, crafted, tmp_path):
    before = [weight.numpy().copy() for weight in network.weights]
    content = crafted(tmp_path)
    with pytest.raises(ArtifactRefused, match=r"Expected .*weights"):
        load_weights(network, content)
    assert not (tmp_path / "run").exists()
    for old, weight in zip(before, network.weights, strict=True):
        np.testing.assert_array_equal(old, weight.numpy())
