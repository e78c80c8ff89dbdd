"""Sampling: what an epoch shows, and that it can be shown again."""

import numpy as np
import pytest

from training.augment import Augmentation
from training.errors import UnusableData
from training.sampling import balanced_order, batches, epoch_order

LABELS = np.array([0] * 80 + [1] * 15 + [2] * 5)
POSITIONS = np.arange(100)


@pytest.fixture
def pixels():
    return np.random.default_rng(6).integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)


def batches_of(pixels, *, seed=(1, 0)):
    labels, order = np.arange(len(pixels)), np.arange(len(pixels))
    return list(batches(pixels, labels, order, batch=8, size=16, strength=Augmentation(), seed=seed))


def test_an_epoch_shows_every_image_of_the_rare_classes_and_some_of_the_common_one():
    order = epoch_order(LABELS, POSITIONS, most_per_class=20, random=np.random.default_rng(1))

    assert np.bincount(LABELS[order]).tolist() == [20, 15, 5]
    assert len(set(order.tolist())) == 40


def test_another_epoch_shows_others_of_the_common_class():
    first, second = (
        set(epoch_order(LABELS, POSITIONS, most_per_class=20, random=np.random.default_rng(seed)).tolist())
        for seed in (1, 2)
    )

    assert len(first & second) < 38


def test_without_a_limit_an_epoch_shows_every_image_once():
    order = epoch_order(LABELS, POSITIONS, most_per_class=None, random=np.random.default_rng(1))

    assert sorted(order.tolist()) == POSITIONS.tolist()


def test_balanced_sampling_draws_every_class_as_often():
    order = balanced_order(LABELS, np.tile(POSITIONS, 30), np.random.default_rng(2))

    assert np.bincount(LABELS[order]) == pytest.approx([1000, 1000, 1000], rel=0.1)


def test_images_that_fill_no_batch_are_left_out(pixels):
    labels = np.concatenate([labels for _, labels in batches_of(pixels)])

    assert labels.tolist() == list(range(16))


def test_batches_can_be_repeated_exactly(pixels):
    for (first, _), (again, _) in zip(batches_of(pixels), batches_of(pixels), strict=True):
        np.testing.assert_array_equal(first, again)


def test_every_image_of_a_batch_is_seen_in_a_view_of_its_own(pixels):
    for images, _ in batches_of(np.repeat(pixels[:1], 16, axis=0)):
        assert len(np.unique(images.reshape(len(images), -1), axis=0)) == 8


def test_another_epoch_shows_other_views(pixels):
    assert (batches_of(pixels)[0][0] != batches_of(pixels, seed=(1, 1))[0][0]).any()


def test_too_few_images_for_one_batch_are_refused(pixels):
    with pytest.raises(UnusableData, match="at least 8 training images"):
        batches_of(pixels[:7])
