"""Age, sex and place come with a batch, reach the model, and leave nothing but their names behind."""

import json

import pytest
import sqlalchemy as sa

from dermabatch.clinical import VALUES, Field
from dermabatch.manifest import Fusion
from dermabatch.taxonomy import CLASSES
from tests.integration.intake.conftest import pictures

FUSION = Fusion(
    evidence={
        field: {value: tuple(0.6 * (-1) ** c for c in range(len(CLASSES))) for value in VALUES[field]}
        for field in (Field.AGE, Field.LOCALIZATION)
    }
)
CSV = "file,age,sex,localization\n0.jpg,47,m,Left upper arm\n1.jpg,,f,somewhere\n2.jpg,83,,unknown\n"


def in_order(work, batch_id):
    images = {image.id: image.ordinal for image in work.intake.images(batch_id)}
    return sorted(work.predictions(batch_id), key=lambda prediction: images[prediction.image_id])


def classified(work, **upload):
    batch_id = work.intake.upload(pictures(3), **upload).batch_id
    work.drain()
    return in_order(work, batch_id)


@pytest.fixture
def picture_alone(work):
    """The predictions of a model that has no fusion."""
    return classified(work)


def what_is_said(prediction):
    return {
        name: getattr(prediction, name)
        for name in ("scores", "probabilities", "conformal_set", "triage", "triage_reason", "fields_used")
    }


def test_the_record_names_the_fields_that_were_used(work, picture_alone):
    work.fusion = FUSION
    both, none, age = classified(work, metadata=CSV)
    assert [each.fields_used for each in (both, none, age)] == [["age", "localization"], [], ["age"]]
    assert both.scores != picture_alone[0].scores
    assert what_is_said(none) == what_is_said(picture_alone[1])
    assert age.scores != picture_alone[2].scores


def test_a_batch_without_metadata_gets_exactly_the_answers_of_the_pictures(work, picture_alone):
    work.fusion = FUSION
    assert [what_is_said(each) for each in classified(work)] == [what_is_said(each) for each in picture_alone]


def test_the_trail_counts_the_fields_and_holds_none_of_their_values(work, database):
    work.fusion = FUSION
    classified(work, metadata=CSV)
    with database.sessions("chainer").begin() as session:
        told = session.scalars(
            sa.text("SELECT details FROM audit_pending WHERE action = 'chunk.classified'")
        ).all()
        every_event = " ".join(session.scalars(sa.text("SELECT details FROM audit_pending")))
    used = [json.loads(details)["fields_used"] for details in told]
    assert sum(each.get("age", 0) for each in used) == 2
    assert sum(each.get("localization", 0) for each in used) == 1
    assert "arm" not in every_event
