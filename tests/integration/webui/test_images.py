import html
import io
import re

import cv2
import numpy as np
import pytest

from dermabatch.derived import Derived
from dermabatch.imaging.synthetic import lesion_jpeg
from dermabatch.subjects import KeyRing
from dermabatch.triage import Triage
from tests.integration.hostile.crafted import EICAR, MARK, polyglots
from tests.integration.pictures import assert_holds_nothing_but_pixels, assert_inert
from tests.situations import File, store_derived


@pytest.fixture
def uploaded(nurse):
    """The page of an image whose bytes lie in the storage."""
    form = {"files": [(io.BytesIO(lesion_jpeg(1)), "secret name.jpg")]}
    batch = nurse.post("/batches", form, form_on="/batches/new").location
    return re.search(r'href="(/images/[^"?]+)', nurse.get(f"{batch}?state=pending").text)[1]


@pytest.fixture
def classified(nurse, submit, database, object_store, settings):
    """Pages of three images with results, most suspicious first, whose derived object lies in the storage."""
    batch = submit(
        [
            File("c.jpg", Triage.SOON, 0.3),
            File("a.jpg", Triage.URGENT, 0.9),
            File("b.jpg", Triage.URGENT, 0.6),
        ]
    )
    grid = np.full((7, 7, 7), 128, np.uint8)
    items = [Derived(b"thumbnail of %d" % place, grid) for place in range(3)]
    store_derived(database.sessions("worker"), object_store, KeyRing(settings.master_key), batch, items)
    return _linked(nurse.get(f"/batches/{batch}"), "images")


def _linked(page, what):
    links = re.findall(rf'(?:href|src)="(/{what}/[^"]+)"', page.text)
    return list(dict.fromkeys(html.unescape(link) for link in links if link.count("/") == 2))


def _source(page, name):
    """Address of a picture on a page, with its ticket."""
    return html.unescape(re.search(rf'"(/images/[^"]+/{name}[^"]*)"', page.text)[1])


def test_a_picture_is_encoded_anew_under_a_made_up_name(nurse, uploaded):
    answer = nurse.get(_source(nurse.get(uploaded), "picture.jpg"))
    assert answer.mimetype == "image/jpeg"
    assert answer.data != lesion_jpeg(1)
    picture = cv2.imdecode(np.frombuffer(answer.data, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (450, 600, 3)
    assert "secret" not in answer.headers["Content-Disposition"]
    assert "private" in answer.headers["Cache-Control"]


def test_a_picture_can_do_nothing_even_if_taken_for_a_page(nurse, uploaded):
    assert_inert(nurse.get(_source(nurse.get(uploaded), "picture.jpg")), "image/jpeg")


def test_thumbnails_and_heat_maps_can_do_nothing_either(nurse, classified):
    assert_inert(nurse.get(_source(nurse.get("/"), "thumbnail.jpg")), "image/jpeg")
    assert_inert(nurse.get(_source(nurse.get(classified[0]), "heat-map.png")), "image/png")


def test_nothing_that_was_hidden_in_a_file_reaches_a_browser(nurse):
    hidden = [polyglot for polyglot in polyglots().values() if polyglot.reason is None]
    form = {
        "files": [(io.BytesIO(file.data), f"{place}-secret-{file.name}") for place, file in enumerate(hidden)]
    }
    batch = nurse.post("/batches", form, form_on="/batches/new").location
    links = re.findall(r'href="(/images/[^"?]+)', nurse.get(f"{batch}?state=pending").text)
    assert len(set(links)) == len(hidden)
    for link in set(links):
        shown = nurse.get(_source(nurse.get(link), "picture.jpg"))
        assert "secret" not in str(shown.headers)
        assert_holds_nothing_but_pixels(shown.data, MARK, EICAR, b"<script>", b"PK\x03\x04")


def test_a_picture_is_only_given_to_whom_its_page_was_shown(nurse, signed_in, uploaded, audited):
    address = _source(nurse.get(uploaded), "picture.jpg")
    colleague = signed_in("nurse@hospital.example")
    assert nurse.get(address.partition("?")[0]).status_code == 404
    assert colleague.get(address).status_code == 404  # the same person, another sign-in
    assert nurse.get(address).status_code == 200
    assert len(audited("image.view")) == 1


def test_an_image_tells_its_triage_with_the_reason_and_all_seven_probabilities(nurse, classified):
    page = nurse.get(classified[0]).text
    assert "Urgent" in page
    assert "because a test says so" in page
    assert page.count('<rect class="track"') == 7
    assert page.count('class="in-set') == 2


def test_next_and_previous_follow_the_list_the_reader_came_from(nurse, classified):
    first, second, third = classified
    page = nurse.get(second)
    assert "2 of 3" in page.text
    assert _linked(page, "images") == [first, third]


def test_next_and_previous_keep_to_a_narrowed_list(nurse, classified):
    page = nurse.get(f"{classified[0]}?triage=urgent")
    assert "1 of 2" in page.text
    assert _linked(page, "images") == [f"{classified[1]}?triage=urgent"]


def test_from_the_worklist_the_steps_cross_batches(nurse, classified, submit):
    submit([File("z.jpg", Triage.URGENT, 0.99)])
    page = nurse.get("/")
    first = next(link for link in _linked(page, "images") if "list=worklist" in link)
    assert "1 of 4" in nurse.get(first).text


def test_thumbnails_and_heat_maps_come_from_the_derived_object(nurse, classified):
    page = nurse.get(classified[0])  # a.jpg, the second of its upload
    assert nurse.get(_source(nurse.get("/"), "thumbnail.jpg")).data == b"thumbnail of 1"
    heat = nurse.get(_source(page, "heat-map.png"))
    assert heat.mimetype == "image/png"
    assert cv2.imdecode(np.frombuffer(heat.data, np.uint8), cv2.IMREAD_UNCHANGED).shape == (224, 224, 4)


def test_a_heat_map_of_an_unknown_class_is_not_found(nurse, classified):
    address = _source(nurse.get(classified[0]), "heat-map.png")
    assert nurse.get(re.sub("class=[a-z]+", "class=melon", address)).status_code == 404


def test_images_of_one_lesion_lead_to_each_other(nurse, submit):
    batch = submit(
        [File("then.jpg", Triage.SOON, 0.3, lesion="l"), File("now.jpg", Triage.SOON, 0.4, lesion="l")]
    )
    now, then = _linked(nurse.get(f"/batches/{batch}"), "images")
    assert f'href="{then}"' in nurse.get(now).text.partition("Same lesion")[2]


def test_an_image_that_waits_says_so(nurse, uploaded):
    assert "waits for a worker" in nurse.get(uploaded).text


def test_a_page_says_what_was_weighed_beside_the_picture(nurse, submit):
    batch = submit(
        [
            File("both.jpg", Triage.URGENT, 0.9, fields_used=("age", "localization")),
            File("none.jpg", Triage.SOON, 0.3),
        ]
    )
    both, none = (nurse.get(link).text for link in _linked(nurse.get(f"/batches/{batch}"), "images"))
    assert "<dd>Picture, age, place</dd>" in both
    assert "<dd>The picture alone</dd>" in none
