"""What a candidate owes the model that serves."""

from dataclasses import replace

import pytest

from dermabatch.gate import Basis, Check, Compared, Difference, Figures, Gate, golden_checks, judge

ACTIVE = Figures(
    bma=0.80,
    melanoma_sensitivity=0.70,
    melanoma_flagged=0.95,
    benign_passed=0.60,
    ece=0.03,
    nll=0.50,
    coverage=0.90,
    mean_set_size=1.3,
)
NO_WORSE = Difference(0.0, -0.019, 0.019)


def failed(candidate, active=ACTIVE, difference=NO_WORSE):
    checks = judge(
        {Basis.PICTURE_ALONE: Compared(candidate, active, difference)},
        coverage_target=0.9,
    )
    return [check.name for check in checks if not check.passed]


def gate(*checks):
    return Gate(
        candidate="c" * 64,
        active="a" * 64,
        side="test",
        split_digest="5" * 64,
        images=1000,
        lesions=750,
        compared={Basis.PICTURE_ALONE: Compared(ACTIVE, ACTIVE, NO_WORSE)},
        checks=checks,
        remarks=("Known images.",),
    )


def test_an_equal_model_passes():
    assert failed(ACTIVE) == []


def test_a_model_that_may_be_two_points_worse_is_refused_although_it_looks_equal():
    assert failed(ACTIVE, difference=Difference(0.0, -0.02, 0.02)) == ["bma"]


def test_a_better_model_passes_however_wide_its_interval():
    assert failed(ACTIVE, difference=Difference(0.05, -0.01, 0.11)) == []


@pytest.mark.parametrize(
    ("figure", "still_fine", "too_far"),
    [
        ("melanoma_flagged", 0.93, 0.929),
        ("melanoma_sensitivity", 0.65, 0.649),
        ("benign_passed", 0.50, 0.499),
        ("ece", 0.05, 0.051),
        ("nll", 0.55, 0.551),
        ("coverage", 0.87, 0.869),
    ],
)
def test_each_figure_has_its_own_limit(figure, still_fine, too_far):
    assert failed(replace(ACTIVE, **{figure: still_fine})) == []
    assert failed(replace(ACTIVE, **{figure: too_far})) == [figure]


def test_images_on_which_the_active_model_is_badly_calibrated_ask_no_more_of_the_candidate():
    hard = replace(ACTIVE, ece=0.08)
    assert failed(replace(ACTIVE, ece=0.08), active=hard) == []
    assert failed(replace(ACTIVE, ece=0.081), active=hard) == ["ece"]


def test_a_figure_that_is_no_number_does_not_pass():
    nothing = float("nan")
    assert failed(replace(ACTIVE, ece=nothing, nll=nothing)) == ["ece", "nll"]
    assert failed(ACTIVE, difference=Difference(nothing, nothing, nothing)) == ["bma"]


def test_what_a_batch_may_bring_besides_its_pictures_is_held_to_the_same_demands():
    alone = Compared(ACTIVE, ACTIVE, NO_WORSE)
    all_known = Compared(replace(ACTIVE, melanoma_flagged=0.92), ACTIVE, NO_WORSE)
    checks = judge({Basis.PICTURE_ALONE: alone, Basis.ALL_KNOWN: all_known}, coverage_target=0.9)
    (failed,) = (check for check in checks if not check.passed)
    assert failed.name == "melanoma_flagged: all_known"
    assert failed.finding.startswith("with age, sex and place, melanomas flagged by triage: 92.0 %")
    assert len(checks) == 2 * len(judge({Basis.PICTURE_ALONE: alone}, coverage_target=0.9))


def test_an_engine_that_misses_the_golden_answers_fails_the_gate_by_name():
    fine, wrong = golden_checks({"openvino": None, "tensorflow": "a difference of 0.2"})
    assert (fine.passed, wrong.passed) == (True, False)
    assert not gate(fine, wrong).passed
    assert "a difference of 0.2" in gate(fine, wrong).verdict()


def test_the_verdict_names_every_reason():
    verdict = gate(Check("bma", False, "first reason"), Check("ece", False, "second reason")).verdict()
    assert "first reason" in verdict
    assert "second reason" in verdict
    assert gate(Check("bma", True, "fine")).verdict() == "It passes the gate."


def test_the_registry_and_the_trail_keep_what_decided():
    result = gate(Check("bma", True, "fine"), Check("ece", False, "too much"))
    kept = result.as_json()
    assert kept["passed"] is False
    assert kept["checks"][1] == {"name": "ece", "passed": False, "finding": "too much"}
    assert kept["compared"]["picture_alone"]["candidate"]["bma"] == 0.80
    summary = result.summary()
    assert (summary["passed"], summary["failed_checks"], summary["against"]) == (False, ["ece"], "a" * 64)
    assert summary["remarks"] == ["Known images."]
