"""Figures against scikit-learn, against counting by hand, and at their edges."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from training import metrics


@pytest.fixture
def truth():
    return np.random.default_rng(10).choice(7, 400, p=(0.05, 0.1, 0.1, 0.05, 0.1, 0.55, 0.05))


@pytest.fixture
def scores(truth):
    """Right more often than not, with every class mistaken somewhere."""
    logits = np.random.default_rng(11).normal(0, 1, (len(truth), 7)) + 1.5 * np.eye(7)[truth]
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def test_balanced_accuracy_is_scikit_learns(truth, scores):
    assert metrics.balanced_accuracy(truth, scores) == pytest.approx(
        balanced_accuracy_score(truth, scores.argmax(axis=1))
    )


def test_confusion_counts_true_classes_down_and_shown_ones_across():
    scores = np.eye(3)[[0, 1, 1, 0]]

    assert metrics.confusion(np.array([0, 0, 1, 1]), scores).tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]


def test_auroc_of_one_kind_alone_is_not_a_number():
    assert np.isnan(metrics.auroc(np.array([True, True]), np.array([0.1, 0.2])))


def test_a_tie_counts_as_wrong_wherever_the_true_class_stands():
    scores = np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])

    assert metrics.hits(np.array([0, 1, 2]), scores).tolist() == [False, False, True]


def test_a_class_without_images_does_not_count():
    scores = np.eye(3)[[0, 0, 1]]

    assert metrics.balanced_accuracy(np.array([0, 0, 0]), scores) == pytest.approx(2 / 3)


def test_each_lesion_weighs_one():
    weights = metrics.lesion_weights(np.array(["a", "b", "a", "a", "c"]))

    assert weights == pytest.approx([1 / 3, 1, 1 / 3, 1 / 3, 1])


def test_sensitivity_and_specificity_by_hand():
    positive = np.array([True, True, True, False, False])
    flagged = np.array([True, False, True, True, False])

    assert metrics.sensitivity_specificity(positive, flagged) == pytest.approx((2 / 3, 1 / 2))
    assert metrics.sensitivity_specificity(positive, flagged, np.array([2, 1, 1, 1, 3.0])) == pytest.approx(
        (3 / 4, 3 / 4)
    )


def test_specificity_is_read_at_a_cut_off_that_reaches_the_sensitivity():
    positive = np.array([True] * 4 + [False] * 4)
    score = np.array([0.9, 0.8, 0.6, 0.2, 0.7, 0.5, 0.3, 0.1])

    assert metrics.specificity_at(0.75, positive, score) == 3 / 4
    assert metrics.specificity_at(1.0, positive, score) == 1 / 4


def test_calibration_error_is_the_mean_distance_by_hand():
    truth = np.array([0, 0, 0, 1])
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.55, 0.45], [0.55, 0.45]])

    bins = metrics.reliability(truth, probabilities, np.ones(4))

    assert metrics.expected_calibration_error(bins) == pytest.approx(0.5 * 0.1 + 0.5 * 0.05)
    assert sum(part["share"] for part in bins) == pytest.approx(1)
