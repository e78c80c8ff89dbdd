"""A fusion learned from painted statistics, where it is known what age, sex and place can tell."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dermabatch.clinical import VALUES, Field
from dermabatch.manifest import MAX_EVIDENCE
from dermabatch.taxonomy import CLASSES
from tests.situations import tiny_manifest
from training.answers import Answers
from training.calibrate import Calibration
from training.data import Sample
from training.fusion import CHOICES, cross_fitted, fit_fusion, fuse_answers, limited
from training.fusion_gain import choose_fusion, fusion_gain, worth_shipping

SEED = 5
NV = CLASSES.index("nv")
OLD_CLASSES = {CLASSES.index(code) for code in ("akiec", "bcc", "bkl")}


def sample(random, label, number, *, telling):
    """A lesion of an old or a young class; by chance `telling` its age says which. Sex and place never tell."""
    old = label in OLD_CLASSES if random.random() < telling else random.random() < 0.5
    return Sample(
        f"I{number}",
        f"L{number}",
        label,
        Path(),
        age=float(random.integers(60, 85) if old else random.integers(20, 45)),
        sex=("male", "female")[number // len(CLASSES) % 2],
        localization="back",
    )


def samples(seed, per_class, *, telling=0.5):
    random = np.random.default_rng(seed)
    labels = np.tile(np.arange(len(CLASSES)), per_class)
    first = 7_000 * seed
    return [sample(random, label, first + n, telling=telling) for n, label in enumerate(labels.tolist())]


def answers_for(these, *, sure=1.2):
    """A network that is right more often than not."""
    random = np.random.default_rng(len(these))
    logits = random.normal(0, 1, (len(these), len(CLASSES)))
    logits[np.arange(len(these)), [one.label for one in these]] += sure
    return Answers(these, logits.astype(np.float32), np.zeros((len(these), 1), np.float32))


@pytest.fixture(scope="module")
def trained_on():
    return samples(1, 80)


@pytest.fixture(scope="module")
def development():
    return answers_for(samples(2, 30))


@pytest.fixture(scope="module")
def calibration():
    tiny = tiny_manifest()
    return Calibration(
        prior=(1 / 7,) * 7, temperature=1.0, conformal=tiny.conformal, thresholds=tiny.thresholds
    )


def test_a_field_that_tells_is_learned_and_fields_that_do_not_are_left_out(trained_on, development):
    fusion = fit_fusion(trained_on, development)
    assert set(fusion.evidence) == {Field.AGE}
    old = fusion.evidence[Field.AGE]["70-79"]
    assert min(old[label] for label in OLD_CLASSES) > max(old[label] for label in set(range(7)) - OLD_CLASSES)


def test_no_evidence_is_stronger_than_a_manifest_may_hold():
    certain = [samples(seed, 60, telling=1) for seed in (7, 8)]
    [table] = fit_fusion(certain[0], answers_for(certain[1])).evidence.values()
    strongest = np.abs(list(table.values())).max()
    assert strongest == pytest.approx(MAX_EVIDENCE, abs=1e-3)


def test_an_age_group_that_no_lesion_has_says_nothing(trained_on, development):
    assert not any(fit_fusion(trained_on, development).evidence[Field.AGE]["0-19"])


def test_a_lesion_counts_once_however_many_images_it_has(trained_on, development):
    again = [*trained_on, *[trained_on[NV]] * 500]
    assert fit_fusion(again, development) == fit_fusion(trained_on, development)


def test_lesions_of_which_nothing_is_known_keep_their_logits(trained_on, development):
    silent = [Sample(one.image_id, one.lesion_id, one.label, one.path) for one in development.samples]
    unknown = Answers(silent, development.logits, development.embedding)
    fused = fuse_answers(unknown, fit_fusion(trained_on, development))
    assert (fused.logits == development.logits).all()


def test_a_fusion_that_tells_gains_on_other_lesions_and_ships(calibration):
    trained_on, development, test = (
        samples(seed, lesions, telling=0.8) for seed, lesions in ((9, 40), (10, 40), (11, 42))
    )
    fusion, report = choose_fusion(trained_on, answers_for(development), answers_for(test), calibration, SEED)
    assert set(fusion.evidence) == {Field.AGE}
    assert report["shipped"]
    assert (report["judged_on"]["images"], report["images"]) == (len(development), len(test))
    assert report["gain_interval"][0] > 0
    assert report["gain"] == pytest.approx(report["bma"] - report["image_only"]["bma"])
    assert report["known"] == {"age": 1.0, "sex": 1.0, "localization": 1.0}


def test_a_fusion_of_fields_that_tell_nothing_does_not_ship(calibration):
    trained_on = samples(4, 80, telling=0)
    development = answers_for(samples(5, 30, telling=0))
    fusion, report = choose_fusion(
        trained_on, development, answers_for(samples(6, 30, telling=0)), calibration, SEED
    )
    assert fusion is None
    assert not report["shipped"]


def test_the_report_tells_what_happens_where_a_field_is_missing(trained_on, development, calibration):
    fused = cross_fitted(trained_on, development, SEED)
    rows = fusion_gain(development, fused, calibration, SEED)["by_fields"]
    gain = {tuple(row["fields"]): row["gain"] for row in rows}
    assert len(gain) == len(CHOICES) == 7
    assert gain["sex", "localization"] == 0
    assert gain["age",] == gain["age", "sex", "localization"] > 0


def test_what_is_known_never_costs_sensitivity(trained_on, development, calibration):
    report = fusion_gain(development, cross_fitted(trained_on, development, SEED), calibration, SEED)
    assert all(row["flagged_sensitivity_change_interval"][0] >= 0 for row in report["by_fields"])


def test_a_lesion_has_no_say_in_what_is_added_to_it(trained_on, development):
    def added(answers):
        return (cross_fitted(trained_on, answers, SEED)[CHOICES[-1]].logits - answers.logits).round(4)

    mistaken = development.logits.copy()
    mistaken[0] = -mistaken[0] * 20
    before, after = added(development), added(replace(development, logits=mistaken))
    assert after[0].tolist() == pytest.approx(before[0].tolist(), abs=1e-3)
    assert np.abs(after - before)[1:].max() > 1e-3


def test_a_hospital_that_tells_one_field_gets_the_table_of_that_field_alone(trained_on, development):
    fusion = fit_fusion(trained_on, development)
    assert limited(fusion, (Field.AGE,)) == fusion
    assert limited(fusion, (Field.SEX, Field.LOCALIZATION)).evidence == {}


PROMISED = {
    "flagged_sensitivity_change_interval": [0.0, 0.01],
    "urgent_specificity_change_interval": [-0.01, 0.0],
    "coverage_change_interval": [-0.01, 0.01],
    "ece_change_interval": [-0.01, 0.01],
}


@pytest.mark.parametrize(
    ("gain_interval", "moved", "ships"),
    [
        ([0.01, 0.05], {}, True),
        ([-0.001, 0.05], {}, False),
        ([0.01, 0.05], {"coverage_change_interval": [-0.06, -0.03]}, False),
        ([0.01, 0.05], {"coverage_change_interval": [-0.06, -0.01]}, True),
        ([0.01, 0.05], {"ece_change_interval": [0.03, 0.05]}, False),
        ([0.01, 0.05], {"urgent_specificity_change_interval": [-0.05, -0.03]}, False),
    ],
)
def test_it_ships_where_the_bma_surely_rises_and_no_promise_is_surely_broken(gain_interval, moved, ships):
    assert worth_shipping({"gain_interval": gain_interval, "by_fields": [PROMISED | moved]}) is ships


def test_every_value_has_its_line_in_the_table(trained_on, development):
    assert tuple(fit_fusion(trained_on, development).evidence[Field.AGE]) == VALUES[Field.AGE]
