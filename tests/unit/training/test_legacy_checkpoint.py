"""A checkpoint of another framework: read right, and read safely."""

import io
import pickle

import pytest

from training.errors import UnreadableCheckpoint
from training.imagenet_weights import installed_checkpoint
from training.legacy_checkpoint import LEGACY_MAGIC, read_legacy_checkpoint


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


def test_a_cut_file_is_refused(as_checkpoint):
    whole = installed_checkpoint("efficientnet_lite0").read_bytes()
    cut = as_checkpoint()
    cut.write_bytes(whole[: len(whole) // 2])

    with pytest.raises(UnreadableCheckpoint, match="storage"):
        read_legacy_checkpoint(cut)
