import pytest
import sqlalchemy as sa

from dermabatch import ledger
from dermabatch.audit import Actor, ActorKind
from dermabatch.errors import Conflict, LeaseLost, NotFound
from dermabatch.lifecycle import ChunkState
from dermabatch.schema import Chunk
from tests.integration.ledger.test_recording import predicted
from tests.situations import person


def cancel(at_work, batch_id, department=None):
    with at_work.web.begin(department=department or at_work.hospital.department) as session:
        return ledger.cancel_batch(session, batch_id, actor=person(at_work.hospital.nurse))


def retry(at_work, batch_id):
    with at_work.web.begin(department=at_work.hospital.department) as session:
        return ledger.retry_batch(session, batch_id, actor=Actor(None, ActorKind.SERVICE, "tests"))


def test_cancelling_stops_what_waits_and_what_runs(at_work):
    batch_id = at_work.waiting_batch(images=3)
    running = at_work.claim()
    assert cancel(at_work, batch_id) == 3
    with pytest.raises(LeaseLost):
        at_work.record(running, [predicted(image.id) for image in running.images])
    counts = at_work.counts(batch_id)
    assert (counts.cancelled, counts.pending, counts.difference) == (3, 0, 0)
    assert at_work.claim() is None


def test_cancelling_keeps_what_is_classified(at_work):
    batch_id = at_work.waiting_batch(images=2)
    claim = at_work.claim()
    at_work.record(claim, [predicted(image.id) for image in claim.images])
    assert cancel(at_work, batch_id) == 0
    assert at_work.counts(batch_id).classified == 2


def test_a_batch_is_cancelled_once(at_work):
    batch_id = at_work.waiting_batch()
    cancel(at_work, batch_id)
    with pytest.raises(Conflict, match="Only an accepted batch can be cancelled"):
        cancel(at_work, batch_id)


def test_another_department_finds_no_batch_to_cancel(at_work):
    batch_id = at_work.waiting_batch()
    with pytest.raises(NotFound):
        cancel(at_work, batch_id, department=at_work.hospital.other_department)
    assert at_work.counts(batch_id).cancelled == 0


def test_only_failed_images_are_tried_again_and_in_quarantine(at_work):
    batch_id = at_work.waiting_batch(images=3)
    claim = at_work.claim()
    first, second, third = (image.id for image in claim.images)
    failed = ledger.Failed(second, "decoder_died", "It stopped its process.")
    refused = ledger.Refused(third, "corrupt", "The picture breaks off.")
    at_work.record(claim, [predicted(first), failed, refused])
    assert retry(at_work, batch_id) == 1
    again = at_work.claim()
    assert [image.id for image in again.images] == [second]
    assert again.images[0].stops == 0
    assert again.isolated
    at_work.record(again, [predicted(second)])
    counts = at_work.counts(batch_id)
    assert (counts.classified, counts.rejected, counts.failed, counts.difference) == (2, 1, 0, 0)


def test_a_retry_without_failed_images_makes_no_work(at_work):
    batch_id = at_work.waiting_batch(images=1)
    claim = at_work.claim()
    at_work.record(claim, [predicted(claim.images[0].id)])
    assert retry(at_work, batch_id) == 0
    with at_work.worker.begin() as session:
        states = session.scalars(sa.select(Chunk.state)).all()
    assert states == [ChunkState.DONE]


def test_conservation_holds_over_all_batches_and_names_a_wrong_one(at_work):
    at_work.waiting_batch(images=2)
    wrong = at_work.waiting_batch(images=3)
    with at_work.worker.begin() as session:
        assert ledger.conservation(session).holds
    with at_work.worker.begin() as session:
        session.execute(sa.text("UPDATE batches SET received = received + 1 WHERE id = :id"), {"id": wrong})
    with at_work.worker.begin() as session:
        conservation = ledger.conservation(session)
    assert not conservation.holds
    assert conservation.wrong_batches == (wrong,)
    assert conservation.line().endswith("difference 1")
