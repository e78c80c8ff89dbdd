"""What was derived from the images of a chunk comes back image by image."""

import io

import numpy as np
import pytest

from dermabatch.derived import Derived, pack_derived, read_derived


def derived(number: int) -> Derived:
    return Derived(f"thumbnail {number}".encode() * (number + 1), np.full((7, 7, 7), number, np.uint8))


@pytest.mark.parametrize("images", [1, 64])
def test_every_entry_comes_back_as_it_went_in(images: int) -> None:
    data = pack_derived([derived(number) for number in range(images)])
    for number in range(images):
        entry = read_derived(data, number)
        assert entry.thumbnail == derived(number).thumbnail
        np.testing.assert_array_equal(entry.saliency, derived(number).saliency)


@pytest.mark.parametrize("index", [-1, 2])
def test_an_entry_that_does_not_exist_is_an_error(index: int) -> None:
    with pytest.raises(ValueError, match="below 2"):
        read_derived(pack_derived([derived(0), derived(1)]), index)


def npz_with_a_pickle() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, thumbnails=np.array([print], dtype=object), ends=np.zeros(1), saliency=np.zeros(1))
    return stream.getvalue()


@pytest.mark.parametrize("data", [b"", b"no archive", pack_derived([derived(0)])[:-30], npz_with_a_pickle()])
def test_other_bytes_are_refused_and_no_pickle_is_read(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - numpy says it in several ways
        read_derived(data, 0)
