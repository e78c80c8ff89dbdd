"""What a detector learns from embeddings whose space is known, and whom its limit keeps."""

from pathlib import Path

import numpy as np
import pytest

from training.answers import Answers
from training.data import Sample
from training.out_of_distribution import KEPT, choose_limit, fit_detector

NUMBERS = 60
SPACE = np.linalg.qr(np.random.default_rng(1).normal(size=(NUMBERS, 4)))[0]


def answers(lesions, *, images_each=1, noise=0.05, seed=2):
    """Lesions in a space of four dimensions, and a little beside it; images of one lesion are alike."""
    random = np.random.default_rng(seed)
    centres = np.repeat(random.normal(size=(lesions, 4)), images_each, axis=0)
    embedding = 3 + centres @ SPACE.T + noise * random.normal(size=(lesions * images_each, NUMBERS))
    samples = [
        Sample(f"I{number}", f"L{number // images_each}", 5, Path(), None, None, None)
        for number in range(lesions * images_each)
    ]
    return Answers(samples, np.zeros((len(samples), 7), np.float32), embedding.astype(np.float32))


def test_a_tenth_of_the_directions_is_learned_and_they_are_the_ones_that_lesions_take():
    learned = fit_detector(answers(500))
    assert learned.directions.shape == (NUMBERS, 6)
    np.testing.assert_allclose(learned.directions.T @ learned.directions, np.eye(6), atol=1e-5)
    beside = SPACE - learned.directions @ (learned.directions.T @ SPACE)
    assert np.linalg.norm(beside, axis=0).max() < 0.25


def test_the_limit_keeps_other_lesions_and_turns_away_what_lies_elsewhere():
    learned = fit_detector(answers(500))
    limit = choose_limit(learned, answers(1000, seed=3))

    kept = learned.strangeness(answers(4000, seed=4).embedding) <= limit.threshold
    elsewhere = learned.strangeness(answers(100, seed=5, noise=1).embedding) > limit.threshold

    assert kept.mean() == pytest.approx(KEPT, abs=0.01)
    assert elsewhere.all()
    assert (limit.kept, limit.lesions) == (KEPT, 1000)


def test_a_lesion_with_many_images_counts_once():
    one = fit_detector(answers(300))
    often = fit_detector(answers(300, images_each=3, noise=0))
    assert abs(often.mean - one.mean).max() < 0.01
    assert choose_limit(one, answers(200, images_each=3, seed=3)).lesions == 200


def test_with_too_few_lesions_for_a_limit_nothing_is_strange():
    learned = fit_detector(answers(50))
    assert choose_limit(learned, answers(98, seed=3)).threshold == 2
    assert choose_limit(learned, answers(99, seed=3)).threshold < 1
