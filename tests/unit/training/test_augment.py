"""Augmentation: views of the lesion that is there, the same ones whenever they are asked for."""

from dataclasses import replace

import numpy as np
import pytest

from training import augment
from training.augment import Augmentation, random_view

STILL = Augmentation(smallest_frame=1, brightness=0, contrast=0, saturation=0, tint=0)


class Unmoved:
    """A generator that always draws the middle of nothing: full frame, no turn, no flip, no tint."""

    def uniform(self, low, high, size=None):
        value = high if low == STILL.smallest_frame or low > 0 else 0.0
        return value if size is None else np.full(size, value)

    def choice(self, options):
        return options[-1]

    def random(self):
        return 1.0


@pytest.fixture
def image():
    return np.random.default_rng(5).integers(0, 256, (32, 32, 3), dtype=np.uint8)


@pytest.fixture
def undegraded(monkeypatch):
    monkeypatch.setattr(augment, "BLUR_SHARE", 0)
    monkeypatch.setattr(augment, "NOISE_SHARE", 0)
    monkeypatch.setattr(augment, "JPEG_SHARE", 0)


def test_no_chance_means_no_change(image):
    np.testing.assert_array_equal(random_view(image, 32, Unmoved()), image)


def test_a_view_has_the_size_that_is_asked_for(image):
    view = random_view(image, 48, np.random.default_rng(8))

    assert view.shape == (48, 48, 3)
    assert view.dtype == np.uint8


def test_the_same_chance_gives_the_same_view(image):
    first, again = (random_view(image, 32, np.random.default_rng(9)) for _ in range(2))

    np.testing.assert_array_equal(first, again)


def test_lesions_are_turned_in_their_true_shape_not_in_the_squashed_one():
    """A round lesion in a 4:3 picture, squashed to a square, stays round on the skin whatever the angle."""
    column, row = np.meshgrid(np.arange(192) + 0.5, np.arange(192) + 0.5)
    disc = ((column - 96) * augment.ASPECT) ** 2 + (row - 96) ** 2 < 24**2
    image = np.repeat(np.where(disc, 255, 0).astype(np.uint8)[..., None], 3, axis=2)
    rng = np.random.default_rng(10)

    ratios = []
    for _ in range(40):
        view = random_view(image, 192, rng, STILL)[..., 1] > 127
        height, width = view.any(axis=1).sum(), view.any(axis=0).sum()
        ratios.append(width / height * augment.ASPECT)

    assert np.abs(np.log(ratios)).max() < augment.STRETCH + 0.06  # a pixel or two at each edge


def test_every_quarter_of_the_circle_and_both_hands_turn_up(undegraded):
    image = np.zeros((64, 64, 3), np.uint8)
    image[28:36, 40:48, 0] = 255  # right of the middle: the side that is turned around ...
    image[16:24, 28:36, 1] = 255  # ... and above it, which says whether the view is mirrored
    rng = np.random.default_rng(7)

    seen = set()
    for _ in range(200):
        view = random_view(image, 64, rng, STILL)
        right, above = (np.argwhere(view[..., mark] > 100).mean(axis=0) - 31.5 for mark in (0, 1))
        seen.add((*(right > 0), right[0] * above[1] > right[1] * above[0]))

    assert len(seen) == 8


def test_views_shift_colours_within_their_limits(undegraded):
    grey = np.full((8, 8, 3), 128, np.uint8)
    strength = Augmentation()
    rng = np.random.default_rng(9)
    means = np.array([random_view(grey, 8, rng).mean(axis=(0, 1)) for _ in range(300)])

    limit = (1 + strength.brightness) * (1 + strength.tint) - 1
    assert np.abs(means / 128 - 1).max() <= limit + 0.01
    assert means.std() > 5


def test_brightness_alone_leaves_the_hue_of_skin(undegraded):
    skin = np.full((8, 8, 3), (200, 150, 130), np.uint8)
    rng = np.random.default_rng(11)

    for _ in range(50):
        mean = random_view(skin, 8, rng, replace(STILL, brightness=0.2)).mean(axis=(0, 1))
        assert mean[0] > mean[1] > mean[2]


@pytest.mark.parametrize("named", ["BLUR_SHARE", "NOISE_SHARE", "JPEG_SHARE"])
def test_some_views_are_blurred_some_grainy_and_some_compressed(image, named, request, monkeypatch):
    share = getattr(augment, named)
    request.getfixturevalue("undegraded")

    def views():
        return np.stack([random_view(image, 32, np.random.default_rng(seed), STILL) for seed in range(100)])

    before = views()
    monkeypatch.setattr(augment, named, share)
    degraded = (views() != before).any(axis=(1, 2, 3))

    assert 0.05 < degraded.mean() < 0.4
