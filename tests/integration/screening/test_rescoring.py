"""Stored images before another model: predictions are added, nothing else changes, differences are told."""

import pytest
import sqlalchemy as sa

from dermabatch import ledger
from dermabatch.erasures import erase_subject
from dermabatch.errors import ServiceUnavailable
from dermabatch.lifecycle import ImageState
from dermabatch.schema import Chunk, Image, Prediction, Subject
from dermabatch.screening.attempt import Interrupted
from dermabatch.screening.rescoring import Change, compare
from dermabatch.triage import Triage
from tests.integration.screening.conftest import counts
from tests.situations import TESTS


@pytest.fixture
def screened(archive):
    archive.add("a.jpg", "b.jpg", "c.jpg", "d.jpg")
    archive.screen()
    return archive


def images_of(archive):
    with archive.work.intake.worker.begin() as session:
        return session.scalars(sa.select(Image).order_by(Image.id)).all()


def test_every_outcome_stays_and_a_prediction_is_added(screened):
    before = {image.id: (image.state, image.prediction_id) for image in images_of(screened)}
    candidate = screened.other_model()

    report = screened.rescore(candidate)

    assert counts(report) == {"listed": 4, "rescored": 4}
    assert report.models == {candidate: 4}
    assert {image.id: (image.state, image.prediction_id) for image in images_of(screened)} == before
    with screened.work.intake.worker.begin() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Prediction)) == 8
        assert ledger.conservation(session).holds


def test_doing_it_again_finds_nothing_to_do(screened):
    candidate = screened.other_model()
    screened.rescore(candidate)
    assert counts(screened.rescore(candidate)) == {}


def test_what_would_change_is_told_with_the_urgent_ones_first(screened, database):
    report = screened.rescore(screened.other_model())
    first, second, *_ = images_of(screened)
    before = _levels(screened)
    others = [level for level in Triage if level not in (before[first.id], before[second.id])]
    after = {first.id: others[-1], second.id: others[0]}
    with database.sessions("postgres").begin() as session:  # no program may change what was predicted
        for image_id, level in after.items():
            of_the_candidate = Prediction.image_id == image_id, Prediction.model_digest == report.model
            session.execute(sa.update(Prediction).where(*of_the_candidate).values(triage=level))

    with screened.work.intake.worker.begin() as session:
        comparison = compare(session, report.run_id)

    assert (comparison.images, comparison.as_json()["changed"]) == (4, 2)
    assert comparison.changed == tuple(
        Change(image, first.batch_id, before[image], after[image]) for image in (second.id, first.id)
    )


def _levels(archive):
    with archive.work.intake.worker.begin() as session:
        rows = session.execute(
            sa.select(Image.id, Prediction.triage).join(Prediction, Prediction.id == Image.prediction_id)
        )
        return {image_id: level for image_id, level in rows}


def test_an_erased_patient_is_shown_to_no_model(archive):
    archive.add("a.jpg")
    (archive.folder / "metadata.csv").write_text("file,patient\na.jpg,4711\n")
    archive.screen()
    hospital = archive.work.intake.hospital
    with archive.work.intake.web.begin(department=hospital.department) as session:
        subject = session.scalars(sa.select(Subject.id)).one()
        intake = archive.work.intake
        erase_subject(session, subject, keyring=intake.keyring, store=intake.store, actor=TESTS)
    candidate = archive.other_model()

    assert counts(archive.rescore(candidate)) == {}
    # The archive has the picture still; taking it in again would undo the erasure.
    assert counts(archive.screen(model=candidate)) == {"listed": 1, "skipped": 1}
    assert [image.state for image in images_of(archive)] == [ImageState.CLASSIFIED]


def test_a_model_that_cannot_be_loaded_keeps_nobody_waiting(screened, monkeypatch):
    candidate = screened.other_model()
    work = screened.work
    load = work._load

    def load_but_the_candidate(digest):
        if digest == candidate:
            raise OSError("no space left on device")
        return load(digest)

    def leave(progress):
        if progress.outstanding:
            raise Interrupted("its chunks wait")

    monkeypatch.setattr(work, "_load", load_but_the_candidate)
    with monkeypatch.context() as patched:
        patched.setattr(screened, "classify", leave)
        with pytest.raises(Interrupted):
            screened.rescore(candidate)
    screened.add("new.jpg", first_seed=9)
    pipeline = work.pipeline()
    with pytest.raises(ServiceUnavailable, match="cannot be loaded"):
        pipeline.claim_and_classify()

    report = screened.screen(tell=lambda far: work.drain(pipeline) if far.outstanding else None)

    assert report.files.taken_in == 1
    with work.intake.worker.begin() as session:
        waiting = session.scalars(sa.select(Chunk.state).where(Chunk.wanted_model == candidate)).all()
    assert set(waiting) == {"ready"}
