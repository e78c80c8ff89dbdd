"""Situations of training."""

import pytest

from tests.painted_lesions import write_painted_lesions
from training.train import compute_reproducibly

compute_reproducibly()  # at import: later, another test may have made TensorFlow compute already


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    """Twelve lesions of each class, every third of them with two images, each class in a colour of its own."""
    folder = tmp_path_factory.mktemp("dataset")
    write_painted_lesions(folder)
    return folder
