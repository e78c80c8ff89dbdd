import cv2
import numpy as np
import pytest

from dermabatch.audit import Actor, ActorKind
from dermabatch.derived import Derived
from dermabatch.erasures import erase_subject
from dermabatch.imaging.synthetic import lesion_jpeg
from dermabatch.schema import Image
from dermabatch.subjects import KeyRing, find_or_create_subject
from dermabatch.triage import Triage
from tests.integration.api.test_access import assert_problem
from tests.integration.pictures import assert_inert
from tests.situations import File, store_derived

THUMBNAIL = lesion_jpeg(1, width=96, height=72)


@pytest.fixture
def image(submit, sessions, database, hospital, object_store, settings):
    """A classified image with its derived object."""
    batch_id = submit([File("lesion.jpg", Triage.URGENT, 0.9)])
    with sessions.begin(department=hospital.department) as session:
        image = session.query(Image).filter_by(batch_id=batch_id).one()
    saliency = np.zeros((7, 7, 7), np.uint8)
    saliency[0, 0, 4] = 255  # all that speaks for melanoma lies in one corner
    keyring = KeyRing(settings.master_key)
    store_derived(
        database.sessions("worker"), object_store, keyring, batch_id, [Derived(THUMBNAIL, saliency)]
    )
    return image


def test_an_image_tells_everything_known_of_it(nurse, image, audited):
    answer = nurse.get(f"/images/{image.id}").json
    assert (answer["file"], answer["class"], answer["triage"]) == ("lesion.jpg", "mel", "urgent")
    assert answer["batch_id"] == str(image.batch_id)
    assert answer["model_digest"] == "ab" * 32
    assert len(audited("image.view")) == 1


def test_the_thumbnail_is_what_the_worker_left(nurse, image, audited):
    answer = nurse.get(f"/images/{image.id}/thumbnail")
    assert (answer.mimetype, answer.data) == ("image/jpeg", THUMBNAIL)
    assert len(audited("image.view")) == 1


def test_the_heat_map_shows_the_predicted_class_or_the_one_asked_for(nurse, image):
    def opacity(query):
        answer = nurse.get(f"/images/{image.id}/heatmap{query}")
        assert answer.mimetype == "image/png"
        return cv2.imdecode(np.frombuffer(answer.data, np.uint8), cv2.IMREAD_UNCHANGED)[..., 3]

    assert opacity("").max() > 200
    assert np.array_equal(opacity(""), opacity("?class=mel"))
    assert opacity("?class=nv").max() == 0
    assert nurse.get(f"/images/{image.id}/heatmap?class=wart").status_code == 422


def test_no_picture_can_do_anything_even_if_taken_for_a_page(nurse, image):
    assert_inert(nurse.get(f"/images/{image.id}/thumbnail"), "image/jpeg")
    assert_inert(nurse.get(f"/images/{image.id}/heatmap"), "image/png")


def test_an_image_without_a_prediction_has_neither(nurse, submit, sessions, hospital):
    batch_id = submit([File("waiting.jpg")])
    with sessions.begin(department=hospital.department) as session:
        waiting = session.query(Image.id).filter_by(batch_id=batch_id).scalar()
    assert nurse.get(f"/images/{waiting}").json["triage"] is None
    for picture in ("thumbnail", "heatmap"):
        assert_problem(nurse.get(f"/images/{waiting}/{picture}"), 404, "not_found")


def test_another_department_finds_no_image(other_nurse, image):
    for path in ("", "/thumbnail", "/heatmap"):
        assert_problem(other_nurse.get(f"/images/{image.id}{path}"), 404, "not_found")


def test_nothing_is_shown_of_an_erased_patient(nurse, image, sessions, hospital, settings, object_store):
    keyring = KeyRing(settings.master_key)
    with sessions.begin(department=hospital.department) as session:
        subject = find_or_create_subject(session, keyring, hospital.department, "4711")
        session.get(Image, image.id).subject = subject
    with sessions.begin(department=hospital.department) as session:
        actor = Actor(None, ActorKind.SERVICE, "tests")
        erase_subject(session, subject.id, keyring=keyring, store=object_store, actor=actor)
    assert nurse.get(f"/images/{image.id}").json["file"] is None
    for picture in ("thumbnail", "heatmap"):
        assert_problem(nurse.get(f"/images/{image.id}/{picture}"), 410, "erased")
