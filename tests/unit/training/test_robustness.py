"""Poses and damage, and what is measured under them."""

import numpy as np
import pytest

from dermabatch.imaging.preprocess import preprocess
from dermabatch.imaging.synthetic import lesion_image
from tests.unit.training import held_out_situations as situations
from training.robustness import eight_poses, images_asked, poses_asked, quick_choice, robustness
from training.views import DAMAGE, GRADES, POSES, damaged, posed


@pytest.fixture(scope="module")
def pictures():
    """uint8[2, 224, 224, 3]."""
    return np.stack([preprocess(lesion_image(seed, width=300, height=225), 224) for seed in (1, 2)])


def test_the_eight_poses_are_all_different_and_the_first_is_none(pictures):
    poses = [posed(pictures, pose) for pose in range(POSES)]

    np.testing.assert_array_equal(poses[0], pictures)
    assert len({pose.tobytes() for pose in poses}) == POSES
    assert {int(pose.sum()) for pose in poses} == {int(pictures.sum())}


@pytest.mark.parametrize("kind", DAMAGE)
def test_each_grade_takes_more_than_the_one_before(kind, pictures):
    distance = [
        np.abs(damaged(pictures, kind, grade).astype(float) - pictures).mean() for grade in range(GRADES)
    ]

    assert distance[0] > 0
    assert distance == sorted(distance)


def test_damage_is_the_same_each_time(pictures):
    np.testing.assert_array_equal(damaged(pictures, "noise", 2), damaged(pictures, "noise", 2))


@pytest.fixture(scope="module")
def side():
    """Answers, and for each image 8 x 8 pixels that hold its class as grey."""
    answers = situations.answers(images=200)
    greys = (20 + 30 * answers.truth).astype(np.uint8)
    return answers, np.broadcast_to(greys[:, None, None, None], (200, 8, 8, 3)).copy()


def by_grey(images):
    """Knows the class from the mean grey, and so fears darkness but no turn; gives up where it is black."""
    grey = images.reshape(len(images), -1).mean(axis=1)
    return -np.abs(grey[:, None] - (20 + 30 * np.arange(7))).astype(np.float32), grey < 5


def test_darkness_costs_what_turning_does_not(side):
    answers, pixels = side
    heard = []

    found = robustness(answers, pixels, by_grey, 1, heard.append)

    grades = {kind: [grade["bma"] for grade in row["grades"]] for kind, row in found["kinds"].items()}
    assert grades["rotation"] == [1] * GRADES
    assert grades["darker"][-1] < 0.5
    assert [grade["cannot_assess"] for grade in found["kinds"]["rotation"]["grades"]] == [0] * GRADES
    assert sum(heard) == images_asked(200)


def test_poses_gain_nothing_where_the_model_is_blind_to_them(side):
    answers, pixels = side
    heard = []
    blind = type(answers)(answers.samples, by_grey(pixels)[0], answers.embedding)

    found = eight_poses(blind, pixels, by_grey, situations.calibration(), 1, heard.append)

    assert found["one"]["bma"] == found["eight"]["bma"]
    assert found["bma_gain_interval"] == (0, 0)
    assert sum(heard) == poses_asked(200)


def test_a_quick_look_takes_the_first_of_every_class():
    answers = situations.answers(images=900)

    chosen = quick_choice(answers)

    counts = np.bincount(answers.truth[chosen], minlength=7)
    assert counts.max() == 25
    assert counts.min() == min(25, np.bincount(answers.truth).min())
