"""Calibration on cases whose answer is known."""

import numpy as np
import pytest

from dermabatch.taxonomy import CLASSES, MALIGNANT_INDICES
from training.calibrate import calibrate, choose_threshold, conformal_quantile, fit_temperature
from training.errors import UnusableData

PRIOR = (0.05, 0.1, 0.1, 0.05, 0.1, 0.55, 0.05)


@pytest.fixture(scope="module")
def calibrated():
    """Labels drawn from known probabilities under PRIOR, and the logits for a balanced prior that imply them."""
    rng = np.random.default_rng(12)
    logits = rng.normal(0, 2, (20_000, 7))
    odds = np.exp(logits + np.log(PRIOR))
    probabilities = odds / odds.sum(axis=1, keepdims=True)
    truth = (probabilities.cumsum(axis=1) < rng.random((len(logits), 1))).sum(axis=1)
    return truth, logits


@pytest.mark.parametrize("overconfidence", [0.5, 1.0, 3.0])
def test_temperature_undoes_overconfidence(calibrated, overconfidence):
    truth, logits = calibrated

    fitted = fit_temperature(truth, logits * overconfidence, np.ones(len(truth)), PRIOR)

    assert fitted == pytest.approx(overconfidence, rel=0.05)


def test_conformal_sets_reach_their_coverage_on_other_lesions(calibrated):
    truth, logits = calibrated
    calibration = calibrate(truth[:2000], logits[:2000], np.ones(2000), PRIOR)

    surprise = 1 - calibration.probabilities(logits[2000:])[np.arange(18_000), truth[2000:]]

    assert (surprise <= calibration.conformal.quantile).mean() == pytest.approx(0.9, abs=0.02)


def test_the_conformal_quantile_carries_its_correction_for_few_lesions():
    scores = np.array([[p, 1 - p] for p in (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)])
    truth = np.zeros(9, np.int64)

    # ceil((9 + 1) * 0.8) = 8th smallest of 0.1 ... 0.9
    assert conformal_quantile(truth, scores, np.ones(9), 0.8) == pytest.approx(0.8)
    assert conformal_quantile(truth, scores, np.ones(9), 0.95) == pytest.approx(0.9)


def test_images_of_one_lesion_count_once_in_the_quantile():
    scores = np.array([[0.9, 0.1]] * 3 + [[0.2, 0.8]] * 30)
    weights = np.array([1.0] * 3 + [1 / 30] * 30)

    assert conformal_quantile(np.zeros(33, np.int64), scores, weights, 0.5) == pytest.approx(0.1)


def test_thresholds_keep_what_they_were_chosen_for(calibrated):
    truth, logits = calibrated
    calibration = calibrate(truth[:5000], logits[:5000], np.ones(5000), PRIOR)
    urgent, soon = calibration.thresholds.urgent, calibration.thresholds.soon
    probabilities = calibration.probabilities(logits[5000:])
    melanoma, malignant = truth[5000:] == CLASSES.index("mel"), np.isin(truth[5000:], MALIGNANT_INDICES)

    is_urgent = probabilities[:, CLASSES.index("mel")] >= urgent.value
    is_soon = probabilities[:, MALIGNANT_INDICES].sum(axis=1) >= soon.value

    assert 1 - is_urgent[~melanoma].mean() == pytest.approx(0.95, abs=0.01)
    assert is_soon[malignant].mean() == pytest.approx(0.95, abs=0.015)
    assert is_urgent[melanoma].mean() == pytest.approx(urgent.sensitivity, abs=0.05)
    assert 1 - is_soon[~malignant].mean() == pytest.approx(soon.specificity, abs=0.03)


@pytest.mark.parametrize(
    ("chosen_for", "limit", "sensitivity", "specificity"),
    [("sensitivity", 0.4, 1.0, 0.5), ("specificity", 0.6, 2 / 3, 0.75)],
)
def test_a_threshold_gives_away_the_least(chosen_for, limit, sensitivity, specificity):
    threshold = choose_threshold(
        "mel",
        chosen_for,
        0.75,
        positive=np.array([True, True, True, False, False, False, False]),
        score=np.array([0.9, 0.6, 0.4, 0.7, 0.5, 0.2, 0.1]),
        weights=np.ones(7),
    )

    assert threshold.value == limit
    assert (threshold.sensitivity, threshold.specificity) == pytest.approx((sensitivity, specificity))


def test_a_target_out_of_reach_is_an_error_not_a_guess():
    with pytest.raises(UnusableData, match=r"specificity of 0\.9"):
        choose_threshold(
            "mel",
            "specificity",
            0.9,
            positive=np.array([True, False]),
            score=np.array([0.4, 0.8]),
            weights=np.ones(2),
        )
