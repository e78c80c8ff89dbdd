import csv
import io
import json
import zipfile
from dataclasses import replace
from uuid import uuid4

import pytest

from dermabatch.imaging.synthetic import lesion_jpeg
from dermabatch.triage import Triage
from tests.integration.api.test_access import assert_problem
from tests.situations import File
from webui.turns import COME_BACK_AFTER, Turns

FILES = [
    File("soon.jpg", Triage.SOON, 0.3),
    File("=urgent.jpg", Triage.URGENT, 0.7),
    File("waiting.jpg"),
    File("letter.docx", reason="This is not an image."),
]


def upload(*files, **fields):
    return {"files": [(io.BytesIO(data), name) for name, data in files], **fields}


def two_pictures():
    return upload(("one.jpg", lesion_jpeg(1)), ("two.jpg", lesion_jpeg(2)))


def test_an_upload_is_answered_with_its_counts_and_address(nurse, audited):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("in/archive.jpg", lesion_jpeg(3))
    table = io.BytesIO(b"file,patient,age\none.jpg,4711,56\n")
    answer = nurse.post(
        "/batches",
        data=upload(
            ("one.jpg", lesion_jpeg(1)),
            ("text.jpg", b"not an image"),
            ("more.zip", archive.getvalue()),
            metadata=(table, "metadata.csv"),
        ),
    )
    assert answer.status_code == 202, answer.json
    assert (answer.json["received"], answer.json["stored"], answer.json["rejected"]) == (3, 2, 1)

    batch = nurse.get(answer.headers["Location"].removeprefix("/api/v1")).json
    assert batch["id"] == answer.json["batch_id"]
    assert (batch["state"], batch["queue"], batch["done"]) == ("accepted", "interactive", False)
    assert (batch["states"]["pending"], batch["states"]["rejected"]) == (2, 1)

    found = nurse.get(f"/batches/{batch['id']}/results").json["results"]
    assert {row["file"]: (row["patient"], row["age"]) for row in found}["one.jpg"] == ("4711", 56)
    assert [details["received"] for _, details in audited("batch.upload") if "received" in details] == [3]


def test_an_upload_larger_than_other_requests_is_taken_and_one_over_the_limit_is_not(nurse):
    noise = [(f"{number}.jpg", lesion_jpeg(number, width=1200, height=900)) for number in range(20)]
    assert sum(len(data) for _, data in noise) > 2 * 2**20, "more than a form may have"
    assert nurse.post("/batches", data=upload(*noise)).status_code == 202
    too_large = nurse.post("/batches", data=upload(("large.jpg", b"\xff\xd8" + bytes(10 * 2**20))))
    assert_problem(too_large, 413, "quota_exceeded")


def test_an_upload_repeated_with_its_key_is_stored_once(nurse):
    key = {"Idempotency-Key": "night-2026-11-22"}
    first = nurse.post("/batches", headers=key, data=two_pictures())
    again = nurse.post("/batches", headers=key, data=two_pictures())
    assert again.status_code == 202
    assert (first.json["repeated"], again.json["repeated"]) == (False, True)
    assert again.json["batch_id"] == first.json["batch_id"]
    others = nurse.post("/batches", headers=key, data=upload(("one.jpg", lesion_jpeg(3))))
    assert_problem(others, 422, "key_used_before")
    assert len(nurse.get("/batches").json["batches"]) == 1


def test_an_upload_too_many_is_told_when_to_come_back_and_leaves_nothing(nurse, app):
    collaborators = app.extensions["dermabatch"]
    turns = Turns(at_once=1, waiting=0)
    replace(collaborators, upload_turns=turns).install(app)
    with turns.take():
        crowded = nurse.post("/batches", data=two_pictures())
    assert_problem(crowded, 429, "crowded")
    assert int(crowded.headers["Retry-After"]) == COME_BACK_AFTER.total_seconds()
    assert nurse.get("/batches").json["batches"] == []
    assert nurse.post("/batches", data=two_pictures()).status_code == 202


@pytest.mark.parametrize(
    ("data", "headers", "status", "code"),
    [
        ({}, {}, 400, "empty_batch"),
        (upload(("one.jpg", b""), queue="express"), {}, 400, "invalid_request"),
        (upload(("one.jpg", b"")), {"Idempotency-Key": "k" * 201}, 400, "invalid_request"),
        (upload(("a.jpg", b""), metadata=(io.BytesIO(b"no,columns\n"), "m.csv")), {}, 400, "invalid_request"),
    ],
)
def test_a_wrong_upload_says_what_was_expected(nurse, data, headers, status, code):
    answer = nurse.post("/batches", headers=headers, data=data, content_type="multipart/form-data")
    assert_problem(answer, status, code)
    assert answer.json["detail"].startswith("Expected")


def test_batches_are_listed_page_by_page(nurse, submit, audited):
    newest_first = [str(submit(FILES[:1])) for _ in range(3)][::-1]
    first = nurse.get("/batches?limit=2").json
    second = nurse.get(f"/batches?limit=2&cursor={first['next_cursor']}").json
    assert [batch["id"] for page in (first, second) for batch in page["batches"]] == newest_first
    assert second["next_cursor"] is None
    assert [details["batches"] for _, details in audited("batches.list")] == [
        newest_first[:2],
        newest_first[2:],
    ]


def test_a_batch_tells_its_levels_and_models(nurse, submit):
    batch = nurse.get(f"/batches/{submit(FILES)}").json
    assert batch["triage"] == {"urgent": 1, "soon": 1}
    assert batch["models"] == {"ab" * 32: 2}


def test_results_come_most_suspicious_first_and_page_by_page(nurse, submit, audited):
    batch_id = submit(FILES)
    first = nurse.get(f"/batches/{batch_id}/results?limit=3").json
    second = nurse.get(f"/batches/{batch_id}/results?limit=3&cursor={first['next_cursor']}").json
    rows = first["results"] + second["results"]
    assert [row["file"] for row in rows] == ["=urgent.jpg", "soon.jpg", "waiting.jpg", "letter.docx"]
    assert rows[0]["probabilities"]["mel"] == 0.7
    assert rows[0]["class"] == "mel"
    assert rows[3]["reason"] == "This is not an image."
    assert "Not a medical device" in first["notice"]
    shown = [details["images"] for _, details in audited("batch.view")]
    assert shown == [[row["image_id"] for row in page["results"]] for page in (first, second)]


def test_results_are_narrowed(nurse, submit):
    batch_id = submit(FILES)

    def files(query):
        return [row["file"] for row in nurse.get(f"/batches/{batch_id}/results?{query}").json["results"]]

    assert files("triage=soon") == ["soon.jpg"]
    assert files("state=rejected&state=pending") == ["waiting.jpg", "letter.docx"]
    assert files("class=mel") == ["=urgent.jpg"]


@pytest.mark.parametrize(
    ("query", "status", "detail"),
    [
        ("limit=0", 422, "query.limit: Must be greater"),
        ("limit=501", 422, "query.limit: Must be greater"),
        ("state=lost", 422, "query.state.0: Must be one of: pending"),
        ("triage=later", 422, "query.triage.0: Must be one of: urgent"),
        ("class=wart", 422, "query.class.0: Must be one of: akiec"),
        ("cursor=x", 400, "Expected a cursor"),
    ],
)
def test_a_wrong_question_is_refused(nurse, submit, query, status, detail):
    answer = nurse.get(f"/batches/{submit(FILES[:1])}/results?{query}")
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    assert answer.json["detail"].startswith(detail)


def test_results_come_as_csv(nurse, submit, audited):
    answer = nurse.get(f"/batches/{submit(FILES)}/results.csv")
    assert answer.mimetype == "text/csv"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["file"] for row in rows] == ["'=urgent.jpg", "soon.jpg", "waiting.jpg", "letter.docx"]
    assert len(audited("batch.export")) == 1


def test_a_cancelled_batch_cannot_be_cancelled_again(nurse, submit):
    batch_id = submit(FILES)
    assert nurse.post(f"/batches/{batch_id}/cancel").json == {"images": 1}
    assert nurse.get(f"/batches/{batch_id}").json["state"] == "cancelled"
    assert_problem(nurse.post(f"/batches/{batch_id}/cancel"), 409, "conflict")


def test_retrying_says_how_many_images_it_concerns(nurse, submit):
    assert nurse.post(f"/batches/{submit(FILES)}/retry").json == {"images": 0}


def test_another_department_finds_nothing(other_nurse, submit):
    batch_id = submit(FILES)
    assert other_nurse.get("/batches").json["batches"] == []
    for path in ("", "/results", "/results.csv"):
        assert_problem(other_nurse.get(f"/batches/{batch_id}{path}"), 404, "not_found")
    for path in ("/cancel", "/retry"):
        assert_problem(other_nurse.post(f"/batches/{batch_id}{path}"), 404, "not_found")


def test_what_a_caller_reads_is_one_event_a_call_without_a_name(nurse, submit, database, audited):
    batch_id = submit(FILES)
    nurse.get(f"/batches/{batch_id}/results")
    ((_, details),) = audited("batch.view")
    assert "urgent.jpg" not in json.dumps(details)
    assert_problem(nurse.get(f"/batches/{uuid4()}"), 404, "not_found")
    assert len(audited("batch.view")) == 1
