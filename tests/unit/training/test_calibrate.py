"""Calibration on cases whose answer is known."""

from pathlib import Path

import numpy as np
import pytest

from dermabatch.taxonomy import CLASSES, MALIGNANT_INDICES
from dermabatch.triage import conformal_sets, decision_scores
from training.answers import Answers
from training.calibrate import calibrate, choose_threshold, fit_temperature, lesion_quantile
from training.data import Sample
from training.errors import UnusableData
from training.promises import coverage_range, promises

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


def answers(truth, logits):
    """Each image of a lesion of its own."""
    samples = [
        Sample(f"I{number}", f"L{number}", int(label), Path(), None, None, None)
        for number, label in enumerate(truth)
    ]
    return Answers(samples, logits.astype(np.float32), np.zeros((len(truth), 1), np.float32))


@pytest.mark.parametrize("overconfidence", [0.5, 1.0, 3.0])
def test_temperature_undoes_overconfidence(calibrated, overconfidence):
    truth, logits = calibrated

    fitted = fit_temperature(truth, logits * overconfidence, np.ones(len(truth)), PRIOR)

    assert fitted == pytest.approx(overconfidence, rel=0.05)


@pytest.mark.parametrize("classes", [CLASSES, ("mel",), ("akiec", "bcc"), ("bkl", "df", "nv", "vasc")])
def test_conformal_sets_reach_their_coverage_on_other_lesions_of_each_group(calibrated, classes):
    truth, logits = calibrated
    calibration = calibrate(answers(truth[:4000], logits[:4000]), PRIOR)

    sets = conformal_sets(
        decision_scores(logits[4000:]), calibration.probabilities(logits[4000:]), calibration.conformal
    )
    covered = sets[np.arange(16_000), truth[4000:]]

    asked = np.isin(truth[4000:], [CLASSES.index(code) for code in classes])
    assert covered[asked].mean() == pytest.approx(0.9, abs=0.025)


def test_the_quantile_carries_its_correction_for_few_lesions():
    values = np.array([0.4, 0.1, 0.2, 0.3, 0.9, 0.5, 0.6, 0.7, 0.8])

    # ceil((9 + 1) * 0.8) = 8th smallest
    assert lesion_quantile(values, np.ones(9), 0.8, largest=1.0) == pytest.approx(0.8)


@pytest.mark.parametrize("lesions", [0, 1, 8])
def test_too_few_lesions_promise_nothing_less_than_everything(lesions):
    assert lesion_quantile(np.full(lesions, 0.1), np.ones(lesions), 0.9, largest=1.0) == 1.0


def test_images_of_one_lesion_count_once_in_the_quantile():
    values = np.array([0.1] * 3 + [0.8] * 30)
    weights = np.array([1.0] * 3 + [1 / 30] * 30)

    assert lesion_quantile(values, weights, 0.5, largest=1.0) == pytest.approx(0.1)


def test_the_range_of_the_coverage_is_the_one_that_repeated_calibrations_show():
    rng = np.random.default_rng(8)
    quantiles = [lesion_quantile(rng.random(62), np.ones(62), 0.9, largest=1.0) for _ in range(4000)]

    # Of uniform values the share below a quantile is the quantile itself.
    assert coverage_range(62, 0.9) == pytest.approx(np.percentile(quantiles, (5, 95)), abs=0.01)
    assert coverage_range(8, 0.9) == (1.0, 1.0)


def test_a_promise_names_the_lesions_it_stands_on_and_holds_what_was_counted(calibrated):
    truth, logits = calibrated
    calibrating = answers(truth[:700], logits[:700])

    promised = promises(calibrate(calibrating, PRIOR), calibrating)

    assert promised["lesions"] == 700
    assert [part["lesions"] for part in promised["sets"]] == [
        np.isin(truth[:700], labels).sum() for labels in ([4], [0, 1], [2, 3, 5, 6])
    ]
    for part in promised["thresholds"].values():
        for rate in ("sensitivity", "specificity"):
            low, high = part[f"{rate}_interval"]
            assert low < part[rate] < high


def test_thresholds_keep_what_they_were_chosen_for(calibrated):
    truth, logits = calibrated
    calibration = calibrate(answers(truth[:5000], logits[:5000]), PRIOR)
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


def test_images_of_one_lesion_count_once_in_a_threshold():
    """Three images of a melanoma that is found do not make up for another one that is missed."""
    threshold = choose_threshold(
        "mel",
        "sensitivity",
        0.75,
        positive=np.array([True, True, True, True, False]),
        score=np.array([0.9, 0.9, 0.9, 0.4, 0.1]),
        weights=np.array([1 / 3, 1 / 3, 1 / 3, 1, 1]),
    )

    assert (threshold.value, threshold.sensitivity) == (0.4, pytest.approx(1))


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
