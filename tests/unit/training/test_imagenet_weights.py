"""Published weights: every one in its place, whatever they come from, and clear words where they cannot be had."""

import keras
import numpy as np
import pytest
from keras.src.applications import efficientnet_v2
from keras.src.backend import config as keras_config
from keras.src.utils.file_utils import hash_file

from dermabatch.networks import build
from tests.unit.training import reference_forward
from training.errors import UnreadableCheckpoint
from training.imagenet_weights import installed_checkpoint, load_imagenet_weights
from training.legacy_checkpoint import read_legacy_checkpoint


@pytest.mark.parametrize(
    ("name", "edge"),
    # The smaller the picture the more of it lies at a border; 75 halves to 38, 19, 10, 5, and 3: even and odd.
    [("efficientnet_lite0", 224), ("efficientnet_lite1", 75), ("efficientnet_lite2", 75)],
)
def test_the_network_gives_the_logits_of_an_independent_forward_pass(name, edge):
    images = np.random.default_rng(3).integers(0, 256, (2, edge, edge, 3), dtype=np.uint8)
    network = build(name, {"input_size": edge, "classes": 1000})

    load_imagenet_weights(network, name)

    expected = reference_forward.forward(read_legacy_checkpoint(installed_checkpoint(name)), images)
    np.testing.assert_allclose(network(images)["logits"], expected, atol=1e-4)


def test_another_number_of_classes_keeps_its_own_classifier():
    network = build("efficientnet_lite0", {"input_size": 32, "classes": 7})
    before = {weight.path: weight.numpy() for weight in network.weights}

    load_imagenet_weights(network, "efficientnet_lite0")

    kept = {w.path for w in network.weights if np.array_equal(w.numpy(), before[w.path])}
    assert kept == {"classifier/kernel", "classifier/bias"}


@pytest.fixture
def no_downloads(tmp_path, monkeypatch):
    """An empty folder of Keras, on a machine whose way out is closed."""
    monkeypatch.setattr(keras_config, "_KERAS_DIR", str(tmp_path))
    for variable in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    return tmp_path


def test_weights_in_the_folder_of_keras_are_taken_from_there(no_downloads, monkeypatch):
    published = keras.applications.EfficientNetV2B0(include_top=False, weights=None)
    path = no_downloads / "models" / "efficientnetv2-b0_notop.h5"
    path.parent.mkdir()
    published.save(path)
    monkeypatch.setitem(efficientnet_v2.WEIGHTS_HASHES, "b0", (None, hash_file(path, algorithm="md5")))
    network = build("efficientnet_v2b0", {"input_size": 64, "classes": 7})

    load_imagenet_weights(network, "efficientnet_v2b0")

    for weight, value in zip(network.weights, published.get_weights(), strict=False):
        np.testing.assert_array_equal(weight, value)


def test_weights_that_cannot_be_fetched_are_named_with_a_way_out(no_downloads):
    network = build("efficientnet_v2b0", {"input_size": 64, "classes": 7})

    with pytest.raises(
        UnreadableCheckpoint, match=r"efficientnetv2-b0_notop\.h5.*KERAS_HOME.*--weights none"
    ):
        load_imagenet_weights(network, "efficientnet_v2b0")


def test_a_network_nobody_published_has_a_clear_way_out():
    with pytest.raises(UnreadableCheckpoint, match="--weights none"):
        load_imagenet_weights(build("baseline_cnn", {"input_size": 32, "classes": 7}), "baseline_cnn")
