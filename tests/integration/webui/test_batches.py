import re

import pytest

from dermabatch.triage import Triage
from tests.situations import File

_MIXED = [
    File("harmless.jpg", Triage.NOT_FLAGGED, 0.02),
    File("soon.jpg", Triage.SOON, 0.5),
    File("urgent.jpg", Triage.URGENT, 0.9),
    File("blurred.jpg", Triage.CANNOT_ASSESS, 0.1),
    File("waits.jpg"),
    File("letter.docx", reason="not an image: expected JPEG, PNG or DICOM, received text"),
]


@pytest.fixture
def batch(submit):
    """One image at each level, one that waits, one file that was left out."""
    return submit(_MIXED)


def _files(page):
    return re.findall(r'class="row-link"[^>]*>([^<]+)</a>', page.text)


def test_before_the_first_batch_the_pages_say_what_to_do(nurse):
    assert "No batches yet" in nurse.get("/batches").text
    assert "Nothing wants eyes" in nurse.get("/").text


def test_batches_are_listed_with_progress_and_what_wants_eyes(nurse, batch):
    page = nurse.get("/batches").text
    assert "5 of 6 done" in page
    assert f"/batches/{batch}" in page
    assert "1 left out" in page


def test_results_are_listed_by_suspicion(nurse, batch):
    page = nurse.get(f"/batches/{batch}")
    assert _files(page) == ["urgent.jpg", "blurred.jpg", "soon.jpg", "harmless.jpg"]
    assert "letter.docx" in page.text
    assert "expected JPEG, PNG or DICOM, received text" in page.text


@pytest.mark.parametrize(
    ("query", "files"),
    [
        ("triage=urgent&triage=soon", ["urgent.jpg", "soon.jpg"]),
        ("class=mel", ["urgent.jpg"]),
        ("state=pending", ["waits.jpg"]),
        ("state=rejected", ["letter.docx"]),
        (
            "triage=nonsense&class=nonsense&state=nonsense",
            ["urgent.jpg", "blurred.jpg", "soon.jpg", "harmless.jpg"],
        ),
    ],
)
def test_a_link_narrows_the_results(nurse, batch, query, files):
    assert _files(nurse.get(f"/batches/{batch}?{query}")) == files


def test_looking_at_a_batch_is_one_event_with_what_was_shown(nurse, batch, audited):
    nurse.get(f"/batches/{batch}?triage=urgent")
    ((outcome, details),) = audited("batch.view")
    # The urgent one, and the file that was left out.
    assert (outcome, len(details["images"])) == ("success", 2)


def test_watching_reads_no_result_until_something_is_new(nurse, batch, audited):
    assert "triage=" not in nurse.get(f"/batches/{batch}/progress").text
    quiet = nurse.get(f"/batches/{batch}/progress?finished=5")
    assert "HX-Trigger" not in quiet.headers
    news = nurse.get(f"/batches/{batch}/progress?finished=4")
    assert news.headers["HX-Trigger"] == "results-changed"
    assert not audited("batch.view")
    assert "urgent.jpg" in nurse.get(f"/batches/{batch}/results").text
    assert len(audited("batch.view")) == 1


def test_a_finished_batch_is_no_longer_watched(nurse, submit):
    moving = nurse.get(f"/batches/{submit([File('waits.jpg')])}").text
    assert 'hx-trigger="every' in moving
    assert 'http-equiv="refresh"' in moving


def test_cancelling_stops_what_waits_and_keeps_the_rest(nurse, batch):
    assert nurse.post(f"/batches/{batch}/cancel").status_code == 302
    page = nurse.get(f"/batches/{batch}")
    assert "Cancelled" in page.text
    assert "every 1500ms" not in page.text
    assert _files(page) == ["urgent.jpg", "blurred.jpg", "soon.jpg", "harmless.jpg"]


def test_cancelling_twice_is_refused_with_the_reason(nurse, batch):
    nurse.post(f"/batches/{batch}/cancel")
    again = nurse.post(f"/batches/{batch}/cancel")
    assert again.status_code == 409
    assert "cancelled" in again.text


def test_the_csv_has_a_line_for_every_file_and_leaves_an_event(nurse, batch, audited):
    answer = nurse.get(f"/batches/{batch}/results.csv")
    lines = answer.data.decode("utf-8-sig").splitlines()
    assert len(lines) == 1 + len(_MIXED)
    assert answer.headers["Content-Disposition"] == f'attachment; filename="batch-{batch}.csv"'
    assert len(audited("batch.export")) == 1


def test_the_worklist_holds_what_wants_eyes_of_all_batches(nurse, submit):
    submit([File("first.jpg", Triage.SOON, 0.5), File("fine.jpg", Triage.NOT_FLAGGED, 0.1)])
    assert _files(nurse.get("/")) == ["first.jpg"]
    assert _files(nurse.get("/?class=nv")) == ["first.jpg"]
    assert "Nothing fits these choices" in nurse.get("/?triage=urgent").text


def test_images_of_one_lesion_stand_together_in_the_worklist(nurse, submit):
    submit(
        [
            File("left, later.jpg", Triage.SOON, 0.3, lesion="left"),
            File("right.jpg", Triage.URGENT, 0.8, lesion="right"),
            File("left.jpg", Triage.URGENT, 0.9, lesion="left"),
        ]
    )
    assert _files(nurse.get("/")) == ["left.jpg", "left, later.jpg", "right.jpg"]
