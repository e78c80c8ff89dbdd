"""What was derived from the images of a chunk comes back image by image, for who has its key."""

import os

import numpy as np
import pytest

from dermabatch.derived import Derived, pack_derived, read_derived, seal_derived
from dermabatch.errors import SealBroken
from dermabatch.identifiers import new_id
from dermabatch.packs import seal

KEY = os.urandom(32)
IMAGE = new_id()


def derived(number: int) -> Derived:
    return Derived(f"thumbnail {number}".encode() * (number + 1), np.full((7, 5, 7), number, np.uint8))


def packed(images: int) -> bytes:
    return pack_derived([seal_derived(derived(number), KEY, IMAGE) for number in range(images)])


@pytest.mark.parametrize("images", [1, 64])
def test_every_part_comes_back_as_it_went_in(images: int) -> None:
    data = packed(images)
    for number in range(images):
        part = read_derived(data, number, key=KEY, image_id=IMAGE)
        assert part.thumbnail == derived(number).thumbnail
        np.testing.assert_array_equal(part.saliency, derived(number).saliency)


def test_nothing_of_a_picture_can_be_read_without_its_key() -> None:
    data = packed(3)
    assert b"thumbnail" not in data
    with pytest.raises(SealBroken):
        read_derived(data, 0, key=os.urandom(32), image_id=IMAGE)


def test_a_part_opens_for_its_own_image_only() -> None:
    with pytest.raises(SealBroken):
        read_derived(packed(1), 0, key=KEY, image_id=new_id())


def test_a_picture_cannot_stand_in_for_what_was_derived_from_it() -> None:
    with pytest.raises(SealBroken):
        read_derived(pack_derived([seal(b"a picture", KEY, IMAGE)]), 0, key=KEY, image_id=IMAGE)


@pytest.mark.parametrize("index", [-1, 2])
def test_a_part_that_does_not_exist_is_an_error(index: int) -> None:
    with pytest.raises(ValueError, match="below 2"):
        read_derived(packed(2), index, key=KEY, image_id=IMAGE)


@pytest.mark.parametrize("data", [b"", b"no such file at all", packed(1)[:-1], b"\xff" * 64, packed(2)[:9]])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="derived object"):
        read_derived(data, 0, key=KEY, image_id=IMAGE)
