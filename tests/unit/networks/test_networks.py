"""Architectures: what they take and give out, and how their weights are kept."""

import keras
import numpy as np
import pytest

from dermabatch.errors import ArtifactRefused
from dermabatch.networks import build
from dermabatch.networks.keras_applications import APPLICATIONS
from dermabatch.networks.weights import load_weights, save_weights
from tests.unit.networks.choices import every_network, every_network_in_time


def answers(network, images):
    return {name: keras.ops.convert_to_numpy(output) for name, output in network(images).items()}


@every_network
def test_a_network_gives_logits_embedding_and_an_exact_map_of_every_image(network_of, images, name):
    network = network_of(name)

    outputs = answers(network, images)

    bias = next(weight.numpy() for weight in network.weights if weight.path == "classifier/bias")
    assert outputs["logits"].shape == (3, 7)
    assert outputs["embedding"].shape[0] == 3
    np.testing.assert_allclose(
        outputs["cam"].mean(axis=(1, 2)) + bias, outputs["logits"], rtol=1e-5, atol=1e-5
    )


@every_network_in_time
def test_bytes_and_floats_of_the_same_pixels_give_the_same_answer(network_of, images, name):
    network = network_of(name)

    np.testing.assert_array_equal(network(images)["logits"], network(images.astype(np.float32))["logits"])


@every_network_in_time
def test_an_answer_does_not_depend_on_the_other_images_of_a_batch(network_of, images, name):
    network = network_of(name)

    alone = network(images[1:2])["logits"]

    np.testing.assert_allclose(alone, network(images)["logits"][1:2], rtol=1e-4, atol=1e-5)


@every_network_in_time
def test_a_clone_answers_the_same_and_calls_its_weights_the_same(network_of, images, name):
    """Training changes layers by `clone_function`, and an artifact finds its weights by their names."""
    network = network_of(name)

    clone = keras.models.clone_model(
        network, clone_function=lambda layer: layer.from_config(layer.get_config())
    )
    load_weights(clone, save_weights(network))

    np.testing.assert_array_equal(clone(images)["logits"], network(images)["logits"])


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


@pytest.mark.long
@pytest.mark.parametrize("name", APPLICATIONS)
def test_a_network_of_keras_prepares_its_input_by_itself(network_of, images, name):
    """As Keras documents it: `preprocess_input`, then the network, then the mean over space."""
    constructor = {
        "resnet50": keras.applications.ResNet50,
        "efficientnet_v2b0": keras.applications.EfficientNetV2B0,
        "convnext_tiny": keras.applications.ConvNeXtTiny,
    }[name]
    network = network_of(name)
    published = constructor(include_top=False, weights=None, pooling=None)
    for weight, value in zip(published.weights, network.get_weights(), strict=False):
        weight.assign(value)

    features = published(APPLICATIONS[name].preprocess(images.astype(np.float32)))

    np.testing.assert_allclose(
        network(images)["embedding"], keras.ops.mean(features, axis=(1, 2)), rtol=1e-4, atol=1e-4
    )


def test_a_name_out_of_no_file_of_ours_is_refused():
    with pytest.raises(ArtifactRefused, match="Received: resnet9000"):
        build("resnet9000", {"input_size": 64, "classes": 7})


def test_parameters_that_a_network_does_not_take_are_refused():
    with pytest.raises(ArtifactRefused, match="colour"):
        build("efficientnet_lite0", {"input_size": 64, "classes": 7, "colour": "blue"})


def test_weights_of_another_architecture_are_refused(network_of):
    with pytest.raises(ArtifactRefused, match="the first odd one"):
        load_weights(network_of("baseline_cnn"), save_weights(network_of("efficientnet_lite0")))


def test_weights_that_are_no_safetensors_are_refused(network_of):
    with pytest.raises(ArtifactRefused, match="Expected weights as safetensors"):
        load_weights(network_of("baseline_cnn"), b"\x80\x04a pickle, perhaps")
