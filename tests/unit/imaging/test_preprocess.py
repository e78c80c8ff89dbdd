"""The preprocessing that training and serving share: what its name stands for."""

import numpy as np

from dermabatch.imaging.preprocess import PREPROCESSING_VERSION, preprocess
from dermabatch.imaging.synthetic import lesion_image


def test_this_name_stands_for_a_picture_squashed_by_the_mean_of_all_its_pixels() -> None:
    picture = lesion_image(1, width=120, height=90)
    means = picture.reshape(30, 3, 30, 4, 3).mean(axis=(1, 3))

    assert PREPROCESSING_VERSION == "squash-area-1"  # models are bound to it: another way needs another name
    assert np.abs(preprocess(picture, 30) - means).max() <= 0.5 + 1e-9


def test_a_picture_that_fits_is_left_as_it_is() -> None:
    picture = lesion_image(1, width=64, height=64)

    assert np.array_equal(preprocess(picture, 64), picture)
