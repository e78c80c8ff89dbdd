import csv
import io
import os

import pytest
import sqlalchemy as sa

from dermabatch import exports, results
from dermabatch.audit import Actor, ActorKind
from dermabatch.erasures import erase_subject
from dermabatch.errors import InvalidRequest, NotFound
from dermabatch.identifiers import new_id
from dermabatch.lifecycle import ImageState
from dermabatch.objects import MemoryObjectStore
from dermabatch.schema import Image
from dermabatch.subjects import KeyRing, data_key, find_or_create_subject, seal_text
from dermabatch.triage import Triage
from tests.situations import File, batch_with_results, register_active_model

FILES = [
    File("not-flagged.jpg", Triage.NOT_FLAGGED, 0.01),
    File("soon-low.jpg", Triage.SOON, 0.3),
    File("report.docx", reason="This is not an image."),
    File("blurred.jpg", Triage.CANNOT_ASSESS, 0.2),
    File("urgent.jpg", Triage.URGENT, 0.7),
    File("waiting.jpg"),
    File("soon-high.jpg", Triage.SOON, 0.9),
    File("more-urgent.jpg", Triage.URGENT, 0.95),
]
BY_SUSPICION = [
    *("more-urgent.jpg", "urgent.jpg", "blurred.jpg", "soon-high.jpg", "soon-low.jpg", "not-flagged.jpg"),
    *("report.docx", "waiting.jpg"),
]


@pytest.fixture
def keyring():
    return KeyRing(os.urandom(32))


@pytest.fixture
def submit(sessions, database, hospital, keyring):
    """Makes a batch of the first department as intake and worker leave it."""
    digest = register_active_model(sessions, hospital)

    def _submit(files):
        return batch_with_results(
            sessions, database.sessions("worker"), hospital, keyring, files, digest=digest
        )

    return _submit


@pytest.fixture
def session(sessions, hospital):
    with sessions.begin(department=hospital.department) as session:
        yield session


def names(found):
    return [result.file_name for result in found]


def test_results_stand_in_the_order_in_which_they_want_eyes(session, submit, keyring):
    page = results.page(session, submit(FILES), keyring=keyring)
    assert names(page.results) == BY_SUSPICION
    assert page.next_cursor is None


def test_a_lesion_is_as_suspicious_as_its_worst_image_and_stays_together(session, submit, keyring):
    files = [
        File("a-harmless.jpg", Triage.NOT_FLAGGED, 0.02, lesion="a"),
        File("b.jpg", Triage.SOON, 0.8, lesion="b"),
        File("c.jpg", Triage.URGENT, 0.6),
        File("a-urgent.jpg", Triage.URGENT, 0.7, lesion="a"),
    ]
    page = results.page(session, submit(files), keyring=keyring)
    assert names(page.results) == ["a-urgent.jpg", "a-harmless.jpg", "c.jpg", "b.jpg"]
    assert page.results[0].lesion == "a"


@pytest.mark.parametrize("limit", [1, 3, 7, 8])
def test_pages_follow_each_other_without_gap_or_repetition(session, submit, keyring, limit):
    batch_id = submit([*FILES, *(File(f"equal-{i}.jpg", Triage.SOON, 1 / 3) for i in range(5))])
    whole = names(results.every(session, batch_id, keyring=keyring))
    seen, cursor = [], None
    while len(seen) < len(whole):
        page = results.page(session, batch_id, keyring=keyring, cursor=cursor, limit=limit)
        seen += names(page.results)
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == whole
    assert cursor is None


def test_a_page_shows_only_the_states_and_levels_asked_for(session, submit, keyring):
    batch_id = submit(FILES)
    refused = results.page(session, batch_id, keyring=keyring, states=[ImageState.REJECTED])
    assert names(refused.results) == ["report.docx"]
    assert refused.results[0].image.reason == "This is not an image."
    soon = results.page(session, batch_id, keyring=keyring, triage=[Triage.SOON])
    assert names(soon.results) == ["soon-high.jpg", "soon-low.jpg"]


@pytest.mark.parametrize("cursor", ["", "nonsense", "W10=", "bnVsbA==", "WzEsMl0="])
def test_a_cursor_from_elsewhere_is_refused(session, submit, keyring, cursor):
    with pytest.raises(InvalidRequest, match="cursor"):
        results.page(session, submit(FILES), keyring=keyring, cursor=cursor)


def test_another_department_sees_nothing(sessions, hospital, submit, keyring):
    batch_id = submit(FILES)
    with sessions.begin(department=hospital.other_department) as session:
        assert results.page(session, batch_id, keyring=keyring).results == ()
        assert results.list_batches(session) == []
        with pytest.raises(NotFound):
            results.find_batch(session, batch_id)
        with pytest.raises(NotFound):
            results.find_result(session, new_id(), keyring=keyring)


def test_an_erased_patient_keeps_results_and_loses_every_name(session, hospital, submit, keyring):
    batch_id = submit(FILES[:1])
    image = session.scalars(sa.select(Image).where(Image.batch_id == batch_id)).one()
    image.subject = find_or_create_subject(session, keyring, hospital.department, "12345")
    image.file_name_sealed = seal_text("Meier.jpg", data_key(keyring, image), image.id)
    session.flush()
    before = results.find_result(session, image.id, keyring=keyring)
    assert (before.file_name, before.patient, before.erased) == ("Meier.jpg", "12345", False)

    actor = Actor(None, ActorKind.SERVICE, "tests")
    erase_subject(session, image.subject.id, keyring=keyring, store=MemoryObjectStore(), actor=actor)
    session.expire_all()
    after = results.find_result(session, image.id, keyring=keyring)
    assert (after.file_name, after.patient, after.erased) == (None, None, True)
    assert after.prediction.triage is Triage.NOT_FLAGGED
    assert str(image.id) in "".join(exports.isic_lines([after]))


def test_batches_are_listed_newest_first_with_their_counts(session, submit):
    older, newer = submit(FILES), submit(FILES[:2])
    first, second = results.list_batches(session)
    assert (first.batch.id, second.batch.id) == (newer, older)
    assert (second.counts.received, second.counts.rejected, second.counts.pending) == (8, 1, 1)
    assert [summary.batch.id for summary in results.list_batches(session, before=newer)] == [older]


def test_a_batch_says_how_many_images_each_model_answered_for(session, submit):
    assert results.models_of(session, submit(FILES)) == {"ab" * 32: 6}


def rows(lines):
    return list(csv.DictReader(io.StringIO("".join(lines))))


def test_the_csv_has_a_row_for_every_received_file(session, submit, keyring):
    table = rows(exports.csv_lines(results.every(session, submit(FILES), keyring=keyring)))
    assert [row["file"] for row in table] == BY_SUSPICION
    urgent, refused = table[0], table[-2]
    assert (urgent["triage"], urgent["p_mel"], urgent["conformal_set"]) == ("urgent", "0.95", "mel nv")
    assert table[2]["quality_flags"] == "blurred"
    assert (refused["reason"], refused["p_mel"]) == ("This is not an image.", "")
    assert {row["notice"] for row in table} == {exports.NOTICE}


def test_the_isic_file_has_the_scores_of_every_predicted_image(session, submit, keyring):
    table = rows(exports.isic_lines(results.every(session, submit(FILES), keyring=keyring)))
    assert list(table[0]) == ["image", "MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"]
    assert [row["image"] for row in table] == [name.removesuffix(".jpg") for name in BY_SUSPICION[:6]]
    assert (table[0]["MEL"], table[0]["NV"]) == ("0.2", "0.3")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_file_name_is_never_a_formula(session, submit, keyring, start):
    name = f"{start}HYPERLINK(1).jpg"
    batch_id = submit([File(name, Triage.SOON, 0.3)])
    found = list(results.every(session, batch_id, keyring=keyring))
    for lines in (exports.csv_lines(found), exports.isic_lines(found)):
        assert all(not cell.startswith(start) for row in rows(lines) for cell in row.values())


def test_files_and_records_name_what_was_weighed_beside_the_picture(session, submit, keyring):
    both = File("both.jpg", Triage.URGENT, 0.9, fields_used=("age", "localization"))
    found = list(results.every(session, submit([both, File("none.jpg", Triage.SOON, 0.3)]), keyring=keyring))
    assert [results.record(result)["fields_used"] for result in found] == [["age", "localization"], []]
    assert [row["fields_used"] for row in rows(exports.csv_lines(found))] == ["age localization", ""]
