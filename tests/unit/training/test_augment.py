"""Augmentation: views of the lesion that is there, the same ones whenever they are asked for."""

import numpy as np
import pytest

from training import augment
from training.augment import random_view, training_batches


class Unmoved:
    """A generator that always draws the middle of nothing: full frame, no turn, no flip, no tint."""

    def uniform(self, low, high, size=None):
        value = high if low == augment.SMALLEST_CROP else 0.0
        return value if size is None else np.full(size, value)

    def integers(self, high):
        return 0

    def random(self):
        return 1.0


@pytest.fixture
def image():
    return np.random.default_rng(5).integers(0, 256, (32, 32, 3), dtype=np.uint8)


@pytest.fixture
def pixels():
    return np.random.default_rng(6).integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)


def batches_of(pixels, *, seed=1, epoch=0):
    labels, positions = np.arange(len(pixels)), np.arange(len(pixels))
    return list(training_batches(pixels, labels, positions, batch=8, seed=seed, epoch=epoch))


def test_no_chance_means_no_change(image):
    np.testing.assert_array_equal(random_view(image, Unmoved()), image)


def test_all_eight_poses_of_a_lesion_turn_up(image, monkeypatch):
    monkeypatch.setattr(augment, "SMALLEST_CROP", 1.0)
    for tint in ("BRIGHTNESS", "CONTRAST", "TINT"):
        monkeypatch.setattr(augment, tint, 0.0)
    rng = np.random.default_rng(7)
    poses = {np.rot90(side, turns).tobytes() for side in (image, image[::-1]) for turns in range(4)}

    seen = {random_view(image, rng).tobytes() for _ in range(200)}

    assert seen == poses


def test_a_view_keeps_size_and_type(image):
    view = random_view(image, np.random.default_rng(8))

    assert view.shape == image.shape
    assert view.dtype == np.uint8


def test_views_shift_colours_within_their_limits():
    grey = np.full((8, 8, 3), 128, np.uint8)
    rng = np.random.default_rng(9)
    means = np.array([random_view(grey, rng).mean(axis=(0, 1)) for _ in range(300)])

    limit = (1 + augment.BRIGHTNESS) * (1 + augment.TINT) - 1
    assert np.abs(means / 128 - 1).max() <= limit + 0.01
    assert means.std() > 5


def test_an_epoch_shows_every_image_once_in_full_batches(pixels):
    labels = np.concatenate([labels for _, labels in batches_of(pixels)])

    assert len(labels) == 16  # two batches of 8; the four images left over come in other epochs
    assert len(set(labels)) == 16


def test_an_epoch_can_be_repeated_exactly(pixels):
    for (first, _), (again, _) in zip(batches_of(pixels), batches_of(pixels), strict=True):
        np.testing.assert_array_equal(first, again)


def test_another_epoch_shows_other_views_in_another_order(pixels):
    (_, first), (_, other) = batches_of(pixels)[0], batches_of(pixels, epoch=1)[0]

    assert first.tolist() != other.tolist()
