"""A screening takes in what is new, skips what it knows, and adds up."""

import pytest
import sqlalchemy as sa

from dermabatch.errors import Conflict
from dermabatch.lifecycle import ModelState, Queue, ScreeningState
from dermabatch.schema import Prediction
from dermabatch.screening.sources import FolderSource
from tests.integration.intake.conftest import incoming, picture
from tests.integration.screening.conftest import counts, small_uploads


def test_an_archive_is_classified_and_everything_in_it_is_accounted_for(archive):
    archive.add("a.jpg", "b/c.jpg", "b/d.jpg")
    (archive.folder / "copy of a.jpg").write_bytes(picture(0))
    (archive.folder / "letter.pdf").write_bytes(b"%PDF-1.7 a letter")
    (archive.folder / ".DS_Store").write_bytes(b"litter")

    report = archive.screen()

    assert report.state is ScreeningState.COMPLETED
    assert counts(report) == {"listed": 6, "skipped": 2, "taken in": 3, "refused": 1}
    assert report.files.difference == 0
    assert sum(report.triage.values()) == 3
    assert report.images["pending"] == 0
    assert {batch.queue for batch in archive.work.intake.batches()} == {Queue.BULK}


def test_the_next_screening_reads_nothing_that_is_the_same_as_before(archive, monkeypatch):
    archive.add("a.jpg", "b.jpg")
    (archive.folder / "letter.pdf").write_bytes(b"%PDF-1.7 a letter")
    archive.screen()
    archive.add("c.jpg", first_seed=7)
    read = []
    before = FolderSource.read

    def noting(source, file, **limits):
        read.append(file.name)
        return before(source, file, **limits)

    monkeypatch.setattr(FolderSource, "read", noting)

    report = archive.screen()

    assert read == ["c.jpg"]
    assert counts(report) == {"listed": 4, "skipped": 3, "taken in": 1}


def test_a_file_that_moved_is_known_by_its_content(archive):
    archive.add("a.jpg")
    archive.screen()
    (archive.folder / "a.jpg").rename(archive.folder / "renamed.jpg")

    assert counts(archive.screen()) == {"listed": 1, "skipped": 1}
    assert len(archive.work.intake.batches()) == 1


def test_what_was_handed_in_by_the_portal_is_not_taken_in_again(archive):
    archive.add("a.jpg", "b.jpg")
    archive.work.intake.upload([incoming("other name.jpg", picture(0))])
    archive.work.drain()

    assert counts(archive.screen()) == {"listed": 2, "skipped": 1, "taken in": 1}


def test_no_name_and_no_path_stays_readable(archive, database, capsys):
    archive.add("Mustermann/a.jpg", "Mustermann/b.jpg")
    archive.screen()
    with database.sessions("postgres").begin() as session:
        for table in ("screening_runs", "screening_uploads", "screened_files", "audit_pending", "images"):
            rows = session.execute(sa.text(f"SELECT {table}::text FROM {table}")).scalars().all()
            assert rows
            assert not any("Mustermann" in row or str(archive.folder) in row for row in rows), table
    assert "Mustermann" not in "".join(capsys.readouterr())


def test_what_another_department_has_taken_in_is_not_known_here(archive):
    archive.add("a.jpg")
    archive.screen()
    hospital = archive.work.intake.hospital
    object.__setattr__(hospital, "department", hospital.other_department)
    object.__setattr__(hospital, "nurse", hospital.other_nurse)

    assert counts(archive.screen()) == {"listed": 1, "taken in": 1}


def test_a_csv_beside_the_images_says_whose_they_are(archive, monkeypatch):
    small_uploads(monkeypatch, 1)
    archive.add("a.jpg", "b.jpg")
    (archive.folder / "metadata.csv").write_text("file,patient,age\na.jpg,4711,64\nb.jpg,4712,40\n")

    report = archive.screen()

    assert counts(report) == {"listed": 2, "taken in": 2}
    images = [
        image for batch in archive.work.intake.batches() for image in archive.work.intake.images(batch.id)
    ]
    assert {image.age for image in images} == {64, 40}
    assert len({image.subject_id for image in images}) == 2


def test_a_line_of_the_csv_whose_picture_is_known_already_is_no_missing_file(archive):
    archive.add("a.jpg")
    (archive.folder / "copy.jpg").write_bytes(picture(0))
    (archive.folder / "metadata.csv").write_text("file,patient\na.jpg,4711\ncopy.jpg,4711\n")

    assert counts(archive.screen()) == {"listed": 2, "skipped": 1, "taken in": 1}
    [batch] = archive.work.intake.batches()
    assert batch.received == 1


def test_a_budget_leaves_the_rest_for_the_next_screening(archive, monkeypatch):
    small_uploads(monkeypatch, 2)
    archive.add(*(f"{number}.jpg" for number in range(5)))

    first = archive.screen(budget=3)
    second = archive.screen()

    assert (first.cut_short, first.files.taken_in) == ("budget", 3)
    assert first.files.difference == 0
    assert (second.cut_short, second.files.taken_in) == (None, 2)


def test_a_candidate_screens_without_being_active(archive):
    archive.add("a.jpg")
    candidate = archive.other_model()

    report = archive.screen(model=candidate)

    assert report.models == {candidate: 1}
    with archive.work.intake.worker.begin() as session:
        assert session.scalars(sa.select(Prediction.model_digest)).all() == [candidate]


def test_a_model_that_failed_its_gate_screens_nothing(archive):
    archive.add("a.jpg")
    with pytest.raises(Conflict, match="rejected"):
        archive.screen(model=archive.other_model(ModelState.REJECTED))
    assert archive.runs() == []


def test_what_a_former_model_saw_is_shown_to_the_present_one_without_being_taken_in_again(archive):
    archive.add("a.jpg", "b.jpg")
    archive.screen()
    candidate = archive.other_model()

    report = archive.screen(model=candidate)

    assert counts(report) == {"listed": 2, "rescored": 2}
    assert report.models == {candidate: 2}
    assert len(archive.work.intake.batches()) == 1
    assert counts(archive.screen(model=candidate)) == {"listed": 2, "skipped": 2}
