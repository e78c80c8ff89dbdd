import sqlalchemy as sa

from dermabatch import ledger
from dermabatch.lifecycle import ChunkState
from dermabatch.schema import Chunk


def lapse(at_work, claim):
    """As if the worker had vanished and the lease had run out."""
    with at_work.worker.begin() as session:
        session.execute(
            sa.update(Chunk)
            .where(Chunk.id == claim.chunk_id)
            .values(lease_until=sa.text("clock_timestamp() - interval '1 second'"))
        )
    with at_work.worker.begin() as session:
        return ledger.return_lapsed(session)


def test_a_lapsed_chunk_comes_back_at_once_and_in_quarantine(at_work):
    at_work.waiting_batch()
    claim = at_work.claim()
    assert lapse(at_work, claim) == {str(claim.chunk_id): 1}
    again = at_work.claim()
    assert again.chunk_id == claim.chunk_id
    assert again.isolated
    assert again.lease_no == 2


def test_a_chunk_that_lapses_again_backs_off_but_nothing_fails(at_work):
    batch_id = at_work.waiting_batch(images=3)
    lapse(at_work, at_work.claim())
    lapse(at_work, at_work.claim())
    assert at_work.claim() is None
    assert at_work.counts(batch_id).pending == 3


def test_a_lease_that_still_holds_is_left_alone(at_work):
    at_work.waiting_batch()
    claim = at_work.claim()
    with at_work.worker.begin() as session:
        assert ledger.return_lapsed(session) == {}
    assert at_work.chunk(claim.chunk_id).state is ChunkState.RUNNING


def test_waiting_chunks_are_those_that_could_be_claimed_now(at_work):
    at_work.waiting_batch()
    at_work.waiting_batch()
    claim = at_work.claim()
    with at_work.worker.begin() as session:
        ledger.release(session, claim, after_seconds=3600)
    with at_work.worker.begin() as session:
        assert ledger.waiting_chunks(session) == 1
