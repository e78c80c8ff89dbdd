"""Figures for thousands of weightings at once, against scikit-learn for each of them alone."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, balanced_accuracy_score, roc_auc_score

from training import metrics, weighted


@pytest.fixture
def truth():
    return np.random.default_rng(10).choice(7, 300, p=(0.05, 0.1, 0.1, 0.05, 0.1, 0.55, 0.05))


@pytest.fixture
def scores(truth):
    logits = np.random.default_rng(11).normal(0, 1, (len(truth), 7)) + 1.5 * np.eye(7)[truth]
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


@pytest.fixture
def weights(truth):
    """Every image once, then resamples with many images left out."""
    return np.vstack([np.ones(len(truth)), np.random.default_rng(12).poisson(0.7, (5, len(truth)))])


def test_balanced_accuracy(truth, scores, weights):
    called = scores.argmax(axis=1)

    assert weighted.balanced_accuracy(truth, scores)(weights) == pytest.approx(
        [balanced_accuracy_score(truth, called, sample_weight=row) for row in weights]
    )


@pytest.mark.parametrize("decimals", [9, 1])  # one decimal makes many ties
def test_auroc(truth, scores, weights, decimals):
    score = scores[:, 4].round(decimals)

    assert weighted.auroc(truth == 4, score)(weights) == pytest.approx(
        [roc_auc_score(truth == 4, score, sample_weight=row) for row in weights]
    )


@pytest.mark.parametrize("decimals", [9, 1])
def test_average_precision(truth, scores, weights, decimals):
    score = scores[:, 4].round(decimals)

    assert weighted.average_precision(truth == 4, score)(weights) == pytest.approx(
        [average_precision_score(truth == 4, score, sample_weight=row) for row in weights]
    )


def test_calibration_error(truth, scores, weights):
    def one(row):
        kept = row > 0
        return metrics.expected_calibration_error(metrics.reliability(truth[kept], scores[kept], row[kept]))

    assert weighted.calibration_error(truth, scores)(weights) == pytest.approx([one(row) for row in weights])


def test_specificity_at_a_sensitivity(truth, scores):
    positive, score = truth == 5, scores[:, 5].round(2)
    statistic = weighted.specificity_at(0.866, positive, score)

    assert statistic(np.ones((1, len(truth))))[0] == pytest.approx(
        metrics.specificity_at(0.866, positive, score)
    )


def test_two_copies_of_an_image_are_a_weight_of_two(truth, scores):
    positive, score = truth == 5, scores[:, 5].round(2)
    copies = np.random.default_rng(13).integers(0, 3, len(truth))
    repeated = np.repeat(np.arange(len(truth)), copies)

    for figure in (
        lambda positive, score: weighted.specificity_at(0.9, positive, score),
        lambda positive, score: weighted.sensitivity_at(0.9, positive, score),
        weighted.auroc,
        weighted.average_precision,
    ):
        by_weight = figure(positive, score)(copies[None].astype(float))
        by_copy = figure(positive[repeated], score[repeated])(np.ones((1, len(repeated))))
        assert by_weight == pytest.approx(by_copy)


def test_sensitivity_at_a_specificity_by_hand():
    positive = np.array([True] * 4 + [False] * 4)
    score = np.array([0.9, 0.8, 0.6, 0.2, 0.7, 0.5, 0.3, 0.1])

    assert weighted.sensitivity_at(0.75, positive, score)(np.ones((1, 8)))[0] == 3 / 4
    assert weighted.sensitivity_at(1.0, positive, score)(np.ones((1, 8)))[0] == 2 / 4


def test_risk_over_coverage_by_hand():
    right, confidence = np.array([True, False, True, True]), np.array([0.9, 0.8, 0.7, 0.6])

    # Wrong among the first one, two, three, four: 0, 1/2, 1/3, 1/4.
    expected = np.mean([0, 1 / 2, 1 / 3, 1 / 4])
    assert weighted.area_under_risk_coverage(right, confidence)(np.ones((1, 4)))[0] == pytest.approx(expected)


def test_a_right_order_of_confidence_beats_a_wrong_one(truth, scores, weights):
    right = scores.argmax(axis=1) == truth
    good = weighted.area_under_risk_coverage(right, right.astype(float))(weights)
    bad = weighted.area_under_risk_coverage(right, 1 - right.astype(float))(weights)

    assert (good < bad).all()
