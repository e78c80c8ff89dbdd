"""How far an embedding stands off the space of the familiar ones, and what may pass for a detector."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dermabatch.artifacts import read_artifact
from dermabatch.errors import ArtifactRefused
from dermabatch.manifest import OUT_OF_DISTRIBUTION
from dermabatch.out_of_distribution import Detector, read_detector
from tests.situations import detector, write_artifact

EMBEDDINGS = arrays(np.float32, (3, 20), elements=st.floats(0, 6, width=32))
WITH_A_DIRECTION = arrays(np.float32, (3, 20), elements=st.just(0) | st.floats(2**-10, 6, width=32))


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npz(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def test_what_lies_in_the_space_is_familiar_and_what_stands_upright_on_it_is_not():
    along, across = np.eye(20, dtype=np.float32)[[1, 7]]
    plane = Detector(mean=np.zeros(20, np.float32), directions=along[:, None])

    assert plane.strangeness(np.stack([along, across])) == pytest.approx([0, 1])
    assert plane.strangeness((along + across)[None]) == pytest.approx([0.5**0.5])


@given(embedding=WITH_A_DIRECTION, brightness=st.floats(0.01, 100))
def test_only_the_direction_of_an_embedding_counts(embedding, brightness):
    scaled = (embedding * np.float32(brightness)).astype(np.float32)
    np.testing.assert_allclose(detector().strangeness(scaled), detector().strangeness(embedding), atol=1e-4)


@given(embedding=EMBEDDINGS)
def test_strangeness_is_a_distance_of_points_on_a_sphere_whatever_the_embedding(embedding):
    found = detector().strangeness(embedding)
    assert ((found >= 0) & (found <= 2)).all()


def test_an_embedding_of_nothing_is_strange():
    assert detector().strangeness(np.zeros((1, 20), np.float32)) > detector().strangeness(
        np.ones((1, 20), np.float32)
    )


def test_a_detector_survives_its_way_into_the_artifact_and_back(tmp_path):
    artifact = read_artifact(write_artifact(tmp_path), expected_digest=None, verify_key=None)
    again = read_detector(artifact)
    np.testing.assert_array_equal(again.mean, detector().mean)
    np.testing.assert_array_equal(again.directions, detector().directions)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 and then nothing",
        npy(np.zeros(20, np.float32)),
        npz(mean=np.zeros(20, np.float32)),
        npz(mean=np.zeros(20), directions=np.zeros((20, 2))),
        npz(mean=np.zeros(20, np.float32), directions=np.zeros((2, 20), np.float32)),
        npz(mean=np.zeros((20, 1), np.float32), directions=np.zeros((20, 2), np.float32)),
        npz(mean=np.array([{"a": "pickle"}]), directions=np.zeros((1, 1), np.float32)),
        npz(mean=np.full(20, np.nan, np.float32), directions=np.zeros((20, 2), np.float32)),
    ],
)
def test_a_file_that_holds_something_else_is_refused(content):
    with pytest.raises(ArtifactRefused, match=OUT_OF_DISTRIBUTION):
        Detector.from_bytes(content)


def test_a_detector_changed_after_the_model_was_verified_is_refused(tmp_path):
    artifact = read_artifact(write_artifact(tmp_path), expected_digest=None, verify_key=None)
    (artifact.folder / OUT_OF_DISTRIBUTION).write_bytes(b"x" * len(artifact.read(OUT_OF_DISTRIBUTION)))
    with pytest.raises(ArtifactRefused, match=f"SHA-256 .* of {OUT_OF_DISTRIBUTION}"):
        read_detector(artifact)
