"""The published checkpoint: read right, and read safely."""

import io
import pickle

import numpy as np
import pytest

from dermabatch.networks import build
from tests.unit.training import reference_forward
from training.errors import UnreadableCheckpoint
from training.imagenet_weights import (
    LEGACY_MAGIC,
    imagenet_checkpoint,
    load_imagenet_weights,
    read_legacy_checkpoint,
)


@pytest.fixture(scope="module")
def published():
    return read_legacy_checkpoint(imagenet_checkpoint("efficientnet_lite0"))


@pytest.fixture
def images():
    return np.random.default_rng(3).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)


@pytest.fixture
def as_checkpoint(tmp_path):
    """Writes pickles one after the other, as a file."""

    def write(*parts):
        stream = io.BytesIO()
        for part in parts:
            pickle.dump(part, stream, protocol=2)
        path = tmp_path / "weights.pth"
        path.write_bytes(stream.getvalue())
        return path

    return write


def test_the_converted_network_gives_the_logits_of_an_independent_forward_pass(published, images):
    network = build("efficientnet_lite0", {"input_size": 224, "classes": 1000})
    load_imagenet_weights(network, published)

    logits = network(images)["logits"]

    np.testing.assert_allclose(logits, reference_forward.forward(published, images), atol=1e-4)


def test_another_number_of_classes_keeps_its_own_classifier(published):
    network = build("efficientnet_lite0", {"input_size": 32, "classes": 7})
    before = {weight.path: weight.numpy() for weight in network.weights}

    load_imagenet_weights(network, published)

    kept = {w.path for w in network.weights if np.array_equal(w.numpy(), before[w.path])}
    assert kept == {"classifier/kernel", "classifier/bias"}


def test_a_checkpoint_that_names_code_is_refused_and_the_code_is_not_run(as_checkpoint, tmp_path):
    class Payload:
        def __reduce__(self):
            return (exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",))

    with pytest.raises(UnreadableCheckpoint, match="the global"):
        read_legacy_checkpoint(as_checkpoint(LEGACY_MAGIC, 1001, {}, {"weight": Payload()}))

    assert not (tmp_path / "ran").exists()


def test_another_file_is_refused(as_checkpoint):
    with pytest.raises(UnreadableCheckpoint, match="magic number"):
        read_legacy_checkpoint(as_checkpoint("something else"))


def test_a_cut_file_is_refused(as_checkpoint, published):
    whole = imagenet_checkpoint("efficientnet_lite0").read_bytes()
    cut = as_checkpoint()
    cut.write_bytes(whole[: len(whole) // 2])

    with pytest.raises(UnreadableCheckpoint, match="storage"):
        read_legacy_checkpoint(cut)


def test_a_network_nobody_published_has_a_clear_way_out():
    with pytest.raises(UnreadableCheckpoint, match="--weights none"):
        imagenet_checkpoint("baseline_cnn")
