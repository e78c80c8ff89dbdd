import pytest
import sqlalchemy as sa

from dermabatch import ledger
from dermabatch.errors import LeaseLost
from dermabatch.lifecycle import ChunkState, ImageState
from dermabatch.schema import Chunk, Image, Prediction
from dermabatch.triage import Assessment, Triage


def predicted(image_id, triage=Triage.SOON, place=0):
    probabilities = (0.1, 0.1, 0.1, 0.1, 0.3, 0.2, 0.1)
    assessment = Assessment(
        scores=probabilities,
        probabilities=probabilities,
        predicted_class="mel",
        malignant_probability=0.5,
        conformal_set=("mel", "nv"),
        triage=triage,
        reason="because a test says so",
    )
    return ledger.Predicted(image_id, assessment, {"flags": []}, place)


def test_every_image_of_a_chunk_gets_its_outcome_at_once(at_work):
    batch_id = at_work.waiting_batch(images=4)
    claim = at_work.claim()
    ids = [image.id for image in claim.images]
    at_work.record(
        claim,
        [
            predicted(ids[0]),
            predicted(ids[1], Triage.CANNOT_ASSESS, 1),
            ledger.Refused(ids[2], "corrupt", "The picture breaks off."),
            ledger.Failed(ids[3], "decoder_died", "It stopped its process."),
        ],
    )
    counts = at_work.counts(batch_id)
    assert counts.states() == {
        "pending": 0,
        "classified": 1,
        "unassessable": 1,
        "rejected": 1,
        "failed": 1,
        "cancelled": 0,
    }
    assert counts.difference == 0
    assert counts.done
    chunk = at_work.chunk(claim.chunk_id)
    assert chunk.state is ChunkState.DONE
    assert chunk.lease_until is None
    with at_work.worker.begin() as session:
        assert session.get_one(Image, ids[2]).reason == "The picture breaks off."
        prediction = session.scalars(sa.select(Prediction).where(Prediction.image_id == ids[0])).one()
        assert prediction.probabilities[4] == 0.3
        assert session.get_one(Image, ids[0]).prediction_id == prediction.id


def test_a_record_that_misses_an_image_is_a_bug_and_writes_nothing(at_work):
    batch_id = at_work.waiting_batch(images=2)
    claim = at_work.claim()
    with pytest.raises(ValueError, match="Expected one outcome for each of 2 images"):
        at_work.record(claim, [predicted(claim.images[0].id)])
    assert at_work.counts(batch_id).pending == 2


def test_a_zombie_changes_nothing_and_is_counted(at_work):
    batch_id = at_work.waiting_batch(images=1)
    zombie = at_work.claim()
    with at_work.worker.begin() as session:
        ledger.release(session, zombie)
    rival = at_work.claim()
    at_work.record(rival, [predicted(rival.images[0].id)])
    with pytest.raises(LeaseLost):
        at_work.record(zombie, [ledger.Refused(zombie.images[0].id, "corrupt", "late")])
    with at_work.worker.begin() as session:
        ledger.note_late_write(session, zombie)
    assert at_work.counts(batch_id).classified == 1
    assert at_work.chunk(zombie.chunk_id).late_writes == 1
    with at_work.worker.begin() as session:
        assert session.scalar(sa.select(sa.func.count(Prediction.id))) == 1


def test_recording_twice_under_one_lease_is_refused(at_work):
    at_work.waiting_batch(images=1)
    claim = at_work.claim()
    at_work.record(claim, [predicted(claim.images[0].id)])
    with pytest.raises(LeaseLost):
        at_work.record(claim, [predicted(claim.images[0].id)])


def test_stops_are_counted_by_the_holder_only(at_work):
    at_work.waiting_batch(images=1)
    claim = at_work.claim()
    with at_work.worker.begin() as session:
        assert ledger.note_stop(session, claim, claim.images[0].id) == 1
        assert ledger.note_stop(session, claim, claim.images[0].id) == 2
    with at_work.worker.begin() as session:
        ledger.release(session, claim)
    with at_work.worker.begin() as session, pytest.raises(LeaseLost):
        ledger.note_stop(session, claim, claim.images[0].id)


@pytest.mark.parametrize(
    "lie",
    [
        {"state": ImageState.CLASSIFIED},
        {"state": ImageState.REJECTED},
        {"reason_code": "corrupt", "reason": "corrupt"},
        {"pack_id": None},
        {"orientation": 9},
        {"stops": 4},
    ],
)
def test_the_database_refuses_impossible_images(at_work, lie):
    at_work.waiting_batch(images=1)
    with pytest.raises(sa.exc.IntegrityError), at_work.worker.begin() as session:
        session.execute(sa.update(Image).values(**lie))


@pytest.mark.parametrize(
    "lie",
    [{"state": ChunkState.RUNNING}, {"state": ChunkState.DONE}, {"lease_until": sa.func.clock_timestamp()}],
)
def test_the_database_refuses_impossible_chunks(at_work, lie):
    at_work.waiting_batch(images=1)
    with pytest.raises(sa.exc.IntegrityError), at_work.worker.begin() as session:
        session.execute(sa.update(Chunk).values(**lie))
