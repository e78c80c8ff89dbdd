"""From logits to a triage level with its reason, on cases worked out by hand."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dermabatch.imaging.quality import Quality, assessable, measure
from dermabatch.imaging.synthetic import lesion_image
from dermabatch.manifest import Manifest, Prior
from dermabatch.taxonomy import CLASSES, MALIGNANT
from dermabatch.triage import Assessment, Triage, assess, calibrated_probabilities, decision_scores
from tests.situations import tiny_manifest

FAIR = measure(lesion_image(1, width=224, height=224), 224, 224)
POOR = measure(np.full((224, 224, 3), 128, np.uint8), 224, 224)
FAMILIAR, STRANGE = np.array([0.1]), np.array([0.62])
LOGITS = arrays(np.float32, (3, 7), elements=st.floats(-50, 50, width=32))


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    """Urgent from p(mel) 0.5 on, soon from p(malignant) 0.2 on, strange above 0.5; even prior, temperature 1."""
    return tiny_manifest()


def logits_for(**probabilities: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Logits whose softmax gives these probabilities, what is left spread over the other classes."""
    rest = (1 - sum(probabilities.values())) / (len(CLASSES) - len(probabilities))
    return np.log([[probabilities.get(code, rest) for code in CLASSES]]).astype(np.float32)


def assess_one(
    manifest: Manifest,
    quality: Quality = FAIR,
    strangeness: np.ndarray[Any, Any] = FAMILIAR,
    **probabilities: float,
) -> Assessment:
    [assessment] = assess(logits_for(**probabilities), manifest, [quality], strangeness=strangeness)
    return assessment


def test_the_pictures_of_these_tests_are_what_they_are_called() -> None:
    assert assessable(FAIR)
    assert not assessable(POOR)


def test_melanoma_at_its_threshold_is_urgent(manifest: Manifest) -> None:
    assessment = assess_one(manifest, mel=0.62, nv=0.37)
    assert assessment.triage is Triage.URGENT
    assert assessment.reason == (
        "Urgent: melanoma 0.62, at or above the threshold 0.50 chosen for 95 % specificity"
    )


def test_malignant_classes_that_reach_their_threshold_only_together_are_soon(manifest: Manifest) -> None:
    assessment = assess_one(manifest, mel=0.1, bcc=0.1, akiec=0.1, nv=0.69)
    assert assessment.triage is Triage.SOON
    assert assessment.reason == (
        "Soon: malignant classes together 0.30, at or above the threshold 0.20 chosen for 95 % sensitivity"
    )
    assert assessment.malignant_probability == pytest.approx(0.3)


def test_what_stays_below_both_thresholds_is_not_flagged(manifest: Manifest) -> None:
    assessment = assess_one(manifest, mel=0.01, bcc=0.01, akiec=0.01, nv=0.95)
    assert assessment.triage is Triage.NOT_FLAGGED
    assert assessment.reason == (
        "Not flagged: melanoma 0.01 and malignant classes together 0.03, below their thresholds 0.50 and 0.20"
    )


def test_a_reason_shows_as_many_decimals_as_tell_value_and_threshold_apart(manifest: Manifest) -> None:
    assessment = assess_one(manifest, mel=0.1995, bcc=0.0001, akiec=0.0001, nv=0.8)
    assert assessment.triage is Triage.NOT_FLAGGED
    assert "malignant classes together 0.1997" in assessment.reason


@pytest.mark.parametrize("malignant", [0.001, 0.3])
def test_a_poor_picture_cannot_be_assessed_however_harmless_it_reads(
    manifest: Manifest, malignant: float
) -> None:
    assessment = assess_one(manifest, POOR, bcc=malignant, nv=0.6)
    assert assessment.triage is Triage.CANNOT_ASSESS
    assert assessment.reason.startswith("Cannot assess: the picture is ")


def test_a_poor_picture_in_which_melanoma_reaches_its_threshold_is_still_urgent(manifest: Manifest) -> None:
    assessment = assess_one(manifest, POOR, mel=0.62)
    assert assessment.triage is Triage.URGENT
    assert ", though the picture is " in assessment.reason


def test_a_strange_picture_cannot_be_assessed_and_a_nurse_reads_why(manifest: Manifest) -> None:
    assessment = assess_one(manifest, strangeness=STRANGE, nv=0.94)
    assert assessment.triage is Triage.CANNOT_ASSESS
    assert assessment.reason == (
        "Cannot assess: the picture does not look like a dermatoscopic image"
        " (strangeness 0.62, above the limit 0.50 that 99 % of lesions keep)"
    )


def test_a_picture_at_the_limit_is_no_stranger(manifest: Manifest) -> None:
    assessment = assess_one(manifest, strangeness=np.array([0.5]), nv=0.94)
    assert assessment.triage is Triage.NOT_FLAGGED


def test_a_poor_and_strange_picture_says_both(manifest: Manifest) -> None:
    assessment = assess_one(manifest, POOR, STRANGE, nv=0.94)
    assert "colourless and does not look like a dermatoscopic image" in assessment.reason


def test_a_strange_picture_in_which_melanoma_reaches_its_threshold_is_still_urgent(
    manifest: Manifest,
) -> None:
    assessment = assess_one(manifest, strangeness=STRANGE, mel=0.62)
    assert assessment.triage is Triage.URGENT
    assert ", though the picture does not look like a dermatoscopic image" in assessment.reason


def test_a_strangeness_that_is_no_number_never_passes_for_familiar(manifest: Manifest) -> None:
    with pytest.raises(ValueError, match="finite"):
        assess_one(manifest, strangeness=np.array([np.nan]), nv=0.94)


def test_the_set_holds_what_its_group_finds_likely_enough_and_always_the_class(manifest: Manifest) -> None:
    # 1 - p is at most 0.95 for mel, 0.8 for bcc, 0.4 for bkl; nv is in because it is the class.
    assert assess_one(manifest, nv=0.55, mel=0.06, bcc=0.19, bkl=0.19).conformal_set == ("mel", "nv")
    assert assess_one(manifest, nv=0.55, mel=0.04, bcc=0.21, bkl=0.19).conformal_set == ("bcc", "nv")


def test_levels_stand_in_the_order_in_which_they_want_eyes() -> None:
    assert list(Triage) == ["urgent", "cannot_assess", "soon", "not_flagged"]


def test_the_class_is_decided_for_an_even_prior_and_the_probabilities_for_the_natural_one(
    manifest: Manifest,
) -> None:
    mostly_nevi = tuple(0.94 if code == "nv" else 0.01 for code in CLASSES)
    natural = manifest.model_copy(update={"prior": Prior(decision=(1 / 7,) * 7, natural=mostly_nevi)})
    assessment = assess_one(natural, mel=0.6, nv=0.3)
    assert assessment.predicted_class == "mel"
    assert assessment.scores[CLASSES.index("mel")] == pytest.approx(0.6)
    # Bayes: 0.6 * 0.01 against 0.3 * 0.94 and five times 0.02 * 0.01.
    total = 0.6 * 0.01 + 0.3 * 0.94 + 0.1 * 0.01
    assert assessment.probabilities[CLASSES.index("mel")] == pytest.approx(0.006 / total, rel=1e-5)


def test_temperature_divides_the_logits() -> None:
    logits = np.array([[2.0, 0, 0, 0, 0, 0, 0]], np.float32)
    even = [1 / 7] * 7
    warm = calibrated_probabilities(logits, 2.0, even)[0, 0]
    assert warm == pytest.approx(math.e / (math.e + 6))


def test_logits_that_are_no_numbers_never_pass_for_harmless(manifest: Manifest) -> None:
    broken = logits_for(nv=0.9)
    broken[0, 3] = np.nan
    with pytest.raises(ValueError, match="finite"):
        assess(broken, manifest, [FAIR], strangeness=FAMILIAR)


def test_each_image_needs_its_quality_and_its_strangeness(manifest: Manifest) -> None:
    with pytest.raises(ValueError, match="zip"):
        assess(logits_for(nv=0.9), manifest, [], strangeness=FAMILIAR)
    with pytest.raises(ValueError, match="zip"):
        assess(logits_for(nv=0.9), manifest, [FAIR], strangeness=np.array([]))


@given(logits=LOGITS)
def test_probabilities_are_probabilities_whatever_the_logits(logits: np.ndarray[Any, Any]) -> None:
    prior = [0.03, 0.05, 0.11, 0.01, 0.11, 0.67, 0.02]
    for probabilities in (decision_scores(logits), calibrated_probabilities(logits, 1.3, prior)):
        assert (probabilities >= 0).all()
        np.testing.assert_allclose(probabilities.sum(axis=1), 1)


@given(logits=LOGITS)
def test_images_are_assessed_independently_of_their_neighbours(
    manifest: Manifest, logits: np.ndarray[Any, Any]
) -> None:
    strangeness = np.array([0.1, 0.62, 0.5])
    together = assess(logits, manifest, [FAIR] * 3, strangeness=strangeness)
    alone = [
        assess(logits[[i]], manifest, [FAIR], strangeness=strangeness[[i]])[0] for i in range(len(logits))
    ]
    assert together == alone


def test_the_malignant_group_is_the_taxonomys(manifest: Manifest) -> None:
    for code in CLASSES:
        assessment = assess_one(manifest, **{code: 0.94})
        assert (assessment.malignant_probability > 0.5) == (code in MALIGNANT)
