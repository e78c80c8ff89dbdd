"""The figures of a held-out side, against scikit-learn and against counting."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, classification_report, roc_auc_score

from dermabatch.taxonomy import CLASSES, MALIGNANT, MALIGNANT_INDICES
from dermabatch.triage import decision_scores
from tests.unit.training import held_out_situations as situations
from training.errors import UnusableData
from training.evaluate import evaluate, manifest_metrics


@pytest.fixture(scope="module")
def answers():
    return situations.answers()


@pytest.fixture(scope="module")
def report(answers):
    return evaluate(answers, situations.calibration(), seed=1)


def test_headline_figures_are_scikit_learns(answers, report):
    scores = decision_scores(answers.logits)

    assert report["bma"] == pytest.approx(balanced_accuracy_score(answers.truth, scores.argmax(axis=1)))
    assert report["macro_auroc"] == pytest.approx(roc_auc_score(answers.truth, scores, multi_class="ovr"))
    assert report["bma_interval"][0] < report["bma"] < report["bma_interval"][1]


def test_figures_of_a_class_are_scikit_learns(answers, report):
    expected = classification_report(answers.truth, answers.logits.argmax(axis=1), output_dict=True)
    for label, name in enumerate(CLASSES):
        assert report["classes"][name]["sensitivity"] == pytest.approx(expected[str(label)]["recall"])
        assert report["classes"][name]["ppv"] == pytest.approx(expected[str(label)]["precision"])
        assert report["classes"][name]["images"] == expected[str(label)]["support"]


def test_malignant_lesions_are_counted_where_dermatologists_stood(answers, report):
    """At a sensitivity of 86.6 % and at a specificity of 71.3 %: Haenssle et al. 2018."""
    malignant = np.isin(answers.truth, MALIGNANT_INDICES)
    suspicion = situations.calibration().probabilities(answers.logits)[:, MALIGNANT_INDICES].sum(axis=1)
    rates = [
        ((suspicion >= limit)[malignant].mean(), (suspicion < limit)[~malignant].mean())
        for limit in suspicion
    ]

    assert report["operating_points"]["specificity_at_86.6_sensitivity"] == pytest.approx(
        max(specificity for sensitivity, specificity in rates if sensitivity >= 0.866)
    )
    assert report["operating_points"]["sensitivity_at_71.3_specificity"] == pytest.approx(
        max(sensitivity for sensitivity, specificity in rates if specificity >= 0.713)
    )


def test_every_figure_lies_in_its_interval(report):
    def check(part):
        for name, bounds in part.items():
            if name.endswith("_interval") and bounds is not None:
                low, value, high = bounds[0], part[name.removesuffix("_interval")], bounds[1]
                assert low <= value <= high or "ece" in name, name  # resamples overstate the ECE
            elif isinstance(bounds, dict):
                check(bounds)

    check(report)


def test_each_lesion_stands_at_one_level(answers, report):
    levels = report["triage"]["levels"]
    lesions = {sample.lesion_id: CLASSES[sample.label] for sample in answers.samples}

    assert sum(sum(row.values()) for row in levels.values()) == len(lesions)
    assert sum(row["melanoma"] for row in levels.values()) == list(lesions.values()).count("mel")
    malignant = sum(row["melanoma"] + row["other_malignant"] for row in levels.values())
    assert malignant == sum(name in MALIGNANT for name in lesions.values())


def test_a_lesion_stands_where_its_most_pressing_image_stands(answers):
    logits = np.zeros_like(answers.logits)
    logits[:, CLASSES.index("nv")] = 20  # nothing is suspicious ...
    twice = next(at for at in range(1, len(logits)) if answers.lesions[at] == answers.lesions[at - 1])
    logits[twice] = 20 * np.eye(7)[CLASSES.index("mel")]  # ... but one image of a lesion with two

    levels = evaluate(replace(answers, logits=logits), situations.calibration(), 1)["triage"]["levels"]

    assert sum(levels["urgent"].values()) == 1
    assert sum(levels["soon"].values()) == 0


def test_what_cannot_be_assessed_is_counted_apart(answers):
    nobody_knows = np.ones(len(answers.samples), bool)

    triage = evaluate(answers, situations.calibration(), 1, abstained=nobody_knows)["triage"]

    assert triage["abstention_measured"]
    assert sum(triage["levels"]["soon"].values()) == 0
    assert sum(triage["levels"]["not_flagged"].values()) == 0
    assert sum(triage["levels"]["cannot_assess"].values()) > 0


def test_a_perfect_model_has_sets_of_one_and_no_risk(answers):
    perfect = replace(answers, logits=(30 * np.eye(7)[answers.truth]).astype(np.float32))

    report = evaluate(perfect, situations.calibration(), 1)

    assert report["bma"] == 1
    assert report["conformal"]["mean_size"] == report["conformal"]["coverage"] == 1
    assert report["risk_coverage"]["aurc"] == 0
    assert report["operating_points"]["specificity_at_86.6_sensitivity"] == 1


def test_shares_of_set_sizes_sum_to_one(report):
    sizes = report["conformal"]["size_shares"]

    assert sum(sizes) == pytest.approx(1)
    assert np.dot(sizes, range(1, 8)) == pytest.approx(report["conformal"]["mean_size"])


def test_subgroups_divide_all_images(answers, report):
    for grouping in ("age", "sex", "site"):
        assert sum(group["images"] for group in report["subgroups"][grouping]) == len(answers.samples)
    assert [group["group"] for group in report["subgroups"]["age"]] == [
        "under 30",
        "30 to 44",
        "45 to 59",
        "60 to 74",
        "75 and over",
        "not recorded",
    ]
    assert report["subgroups"]["sex"][-1]["group"] == "not recorded"


def test_small_groups_are_marked(report):
    for group in report["subgroups"]["age"]:
        benign = group["lesions"] - group["malignant_lesions"]
        assert group["too_few"] == (min(benign, group["malignant_lesions"]) < 10)
    assert any(group["too_few"] for group in report["subgroups"]["age"])
    assert not all(group["too_few"] for group in report["subgroups"]["age"])


def test_a_side_without_a_class_is_refused(answers):
    without = np.flatnonzero(answers.truth != CLASSES.index("df"))

    with pytest.raises(UnusableData, match="none of them of df"):
        evaluate(answers.at(without), situations.calibration(), 1)


def test_the_manifest_takes_its_figures_from_the_report(report):
    assert manifest_metrics(report).bma == report["bma"]
    json.dumps(report, allow_nan=False)
