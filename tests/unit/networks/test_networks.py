"""Architectures: what they give out, and that pretrained ones are what was published."""

import keras
import numpy as np
import pytest

from dermabatch.artifacts import KNOWN_NETWORKS
from dermabatch.errors import ArtifactRefused
from dermabatch.networks import BUILDERS, build
from dermabatch.networks.weights import load_weights, save_weights

SMALL = {"input_size": 32, "classes": 7}


@pytest.fixture(scope="module")
def network():
    """A network with random weights whose norms do not happen to be neutral."""
    keras.utils.set_random_seed(1)
    network = build("efficientnet_lite0", SMALL)
    rng = np.random.default_rng(1)
    for weight in network.weights:
        if "_norm/" in weight.path or weight.path == "classifier/bias":
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return network


@pytest.fixture
def images():
    return np.random.default_rng(2).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


def test_a_manifest_may_name_every_network_that_can_be_built():
    assert BUILDERS.keys() == KNOWN_NETWORKS


@pytest.mark.parametrize(
    ("name", "trainable"),
    [
        # of the published checkpoints, with the 1,000 classes of ImageNet
        ("efficientnet_lite0", 4_652_008),
        ("efficientnet_lite1", 5_416_680),
        ("efficientnet_lite2", 6_092_072),
    ],
)
def test_the_family_is_as_large_as_published(name, trainable):
    network = build(name, {"input_size": 64, "classes": 1000})

    assert sum(int(np.prod(weight.shape)) for weight in network.trainable_weights) == trainable


@pytest.mark.parametrize("name", ["baseline_cnn", "efficientnet_lite0"])
def test_a_network_gives_logits_embedding_and_map_of_every_image(name, images):
    outputs = build(name, SMALL)(images)

    assert outputs["logits"].shape == (3, 7)
    assert outputs["embedding"].shape[0] == 3
    assert outputs["cam"].shape[0] == 3
    assert outputs["cam"].shape[-1] == 7


def test_the_class_activation_map_adds_up_to_the_logits(network, images):
    outputs = {name: keras.ops.convert_to_numpy(output) for name, output in network(images).items()}
    bias = next(weight.numpy() for weight in network.weights if weight.path == "classifier/bias")

    np.testing.assert_allclose(outputs["cam"].mean(axis=(1, 2)) + bias, outputs["logits"], atol=1e-5)


def test_bytes_and_floats_of_the_same_pixels_give_the_same_answer(network, images):
    np.testing.assert_array_equal(network(images)["logits"], network(images.astype(np.float32))["logits"])


def test_an_answer_does_not_depend_on_the_other_images_of_a_batch(network, images):
    alone = network(images[1:2])["logits"]

    np.testing.assert_allclose(alone, network(images)["logits"][1:2], atol=1e-5)


def test_a_name_out_of_no_file_of_ours_is_refused():
    with pytest.raises(ArtifactRefused, match="Received: resnet9000"):
        build("resnet9000", SMALL)


def test_parameters_that_a_network_does_not_take_are_refused():
    with pytest.raises(ArtifactRefused, match="colour"):
        build("efficientnet_lite0", {**SMALL, "colour": "blue"})


def test_saved_weights_make_another_network_answer_the_same(network, images):
    other = build("efficientnet_lite0", SMALL)

    load_weights(other, save_weights(network))

    np.testing.assert_array_equal(other(images)["logits"], network(images)["logits"])


def test_weights_of_another_architecture_are_refused(network):
    with pytest.raises(ArtifactRefused, match="the first odd one"):
        load_weights(build("baseline_cnn", SMALL), save_weights(network))


def test_weights_that_are_no_safetensors_are_refused(network):
    with pytest.raises(ArtifactRefused, match="Expected weights as safetensors"):
        load_weights(network, b"\x80\x04a pickle, perhaps")
