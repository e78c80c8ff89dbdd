"""Age, sex and place beside the picture: what they add, and what they must not do."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dermabatch.clinical import NOTHING_KNOWN, VALUES, Clinical, Field
from dermabatch.fusion import fuse
from dermabatch.imaging.quality import measure
from dermabatch.imaging.synthetic import lesion_image
from dermabatch.manifest import MAX_EVIDENCE, Fusion, parse_manifest
from dermabatch.taxonomy import CLASSES
from dermabatch.triage import Triage, assess
from tests.situations import tiny_manifest

FAIR = measure(lesion_image(1, width=224, height=224), 224, 224)
NOTHING = (0.0,) * len(CLASSES)


def table(field, **evidence):
    """Evidence for the values that are named, none for the others."""
    return dict.fromkeys(VALUES[field], NOTHING) | evidence


def for_melanoma(weight):
    return tuple(weight if code == "mel" else 0.0 for code in CLASSES)


FUSION = Fusion(
    evidence={
        Field.AGE: table(Field.AGE) | {"20-29": for_melanoma(-0.6), "70-79": for_melanoma(0.6)},
        Field.LOCALIZATION: table(Field.LOCALIZATION, trunk=for_melanoma(0.5)),
    }
)
OLD_BACK = Clinical(age=75, sex="male", localization="Back")
YOUNG = Clinical(age=25)


def assess_one(logits, clinical, fusion=FUSION):
    manifest = tiny_manifest().model_copy(update={"fusion": fusion})
    logits = np.array([logits], np.float32)
    [assessment] = assess(logits, manifest, [FAIR], clinical and [clinical], strangeness=np.zeros(1))
    return assessment


def logits_for(**probabilities):
    rest = (1 - sum(probabilities.values())) / (len(CLASSES) - len(probabilities))
    return [math.log(probabilities.get(code, rest)) for code in CLASSES]


def test_each_known_field_adds_its_evidence_and_is_named():
    fused = fuse(np.zeros((1, 7), np.float32), FUSION, [OLD_BACK])
    assert fused.logits[0].tolist() == list(for_melanoma(0.6 + 0.5))
    assert fused.used == ((Field.AGE, Field.LOCALIZATION),)  # the model has no table for sex


@pytest.mark.parametrize(
    "clinical", [NOTHING_KNOWN, Clinical(age=200, sex="other", localization="somewhere")]
)
def test_what_is_unknown_adds_nothing_at_all(clinical):
    logits = np.random.default_rng(1).normal(size=(1, 7)).astype(np.float32)
    fused = fuse(logits, FUSION, [clinical])
    assert (fused.logits == logits).all()
    assert fused.used == ((),)


def test_a_model_without_a_fusion_leaves_what_is_known_aside():
    logits = logits_for(mel=0.3)
    assert assess_one(logits, OLD_BACK, fusion=None) == assess_one(logits, None, fusion=None)


def test_an_image_of_which_nothing_is_known_gets_exactly_the_answer_of_the_picture():
    logits = logits_for(mel=0.3, nv=0.4)
    assert assess_one(logits, NOTHING_KNOWN) == assess_one(logits, None, fusion=None)


def test_each_image_is_judged_by_what_is_known_of_itself():
    logits = np.array([logits_for(mel=0.3)] * 2, np.float32)
    manifest = tiny_manifest().model_copy(update={"fusion": FUSION})
    old, unknown = assess(logits, manifest, [FAIR] * 2, [OLD_BACK, NOTHING_KNOWN], strangeness=np.zeros(2))
    assert old.probabilities[CLASSES.index("mel")] > unknown.probabilities[CLASSES.index("mel")]
    assert (old.fields_used, unknown.fields_used) == (("age", "localization"), ())


def test_an_age_can_raise_a_level():
    logits = logits_for(mel=0.42)
    assert assess_one(logits, None).triage is Triage.SOON
    assert assess_one(logits, OLD_BACK).triage is Triage.URGENT


def test_a_young_age_makes_melanoma_less_probable_and_still_silences_no_alarm():
    logits = logits_for(mel=0.55)
    young = assess_one(logits, YOUNG)
    assert young.probabilities[CLASSES.index("mel")] < 0.5
    assert young.triage is Triage.URGENT
    assert young.reason == (
        "Urgent: melanoma by the picture alone 0.55, at or above the threshold 0.50 chosen for 95 % specificity"
    )


@given(
    logits=st.lists(st.floats(-8, 8, width=32), min_size=7, max_size=7),
    age=st.none() | st.integers(0, 120),
    place=st.none() | st.sampled_from(VALUES[Field.LOCALIZATION]),
)
def test_what_is_known_never_lowers_a_level(logits, age, place):
    pressing = [Triage.URGENT, Triage.SOON, Triage.NOT_FLAGGED]
    fused = assess_one(logits, Clinical(age=age, localization=place))
    assert pressing.index(fused.triage) <= pressing.index(assess_one(logits, None).triage)


def test_as_much_must_be_said_of_images_as_there_are():
    with pytest.raises(ValueError, match="expected what is known of 2 images, got 1"):
        fuse(np.zeros((2, 7)), FUSION, [OLD_BACK])


def test_a_manifest_with_a_fusion_comes_back_as_it_was_written():
    manifest = tiny_manifest().model_copy(update={"fusion": FUSION})
    assert parse_manifest(manifest.to_bytes()) == manifest
    assert b'"fusion"' not in tiny_manifest().to_bytes()


@pytest.mark.parametrize(
    "evidence",
    [
        {Field.AGE: table(Field.AGE) | {"20-29": for_melanoma(MAX_EVIDENCE + 0.01)}},
        {Field.AGE: {"20-29": NOTHING}},
        {Field.LOCALIZATION: table(Field.LOCALIZATION, moon=NOTHING)},
        {Field.SEX: table(Field.SEX, male=NOTHING[1:])},
    ],
    ids=["more than double", "values missing", "an unknown value", "a class missing"],
)
def test_evidence_that_is_too_strong_or_incomplete_is_refused(evidence):
    with pytest.raises(ValidationError):
        Fusion(evidence=evidence)
