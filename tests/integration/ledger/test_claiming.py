from concurrent.futures import ThreadPoolExecutor

import sqlalchemy as sa

from dermabatch import ledger
from dermabatch.lifecycle import ChunkState, Queue
from dermabatch.schema import Chunk, Model


def test_nothing_waits_nothing_is_claimed(at_work):
    assert at_work.claim() is None


def test_a_claim_brings_what_the_work_needs(at_work):
    batch_id = at_work.waiting_batch(images=3)
    claim = at_work.claim()
    assert claim.batch_id == batch_id
    assert len(claim.images) == 3
    assert claim.model_digest == at_work.digest
    assert claim.lease_no == 1
    assert not claim.isolated
    image = claim.images[0]
    assert len(at_work.keyring.unwrap(image.wrapped_key, image.key_owner)) == 32


def test_two_workers_never_get_the_same_chunk(at_work):
    batches = {at_work.waiting_batch() for _ in range(8)}
    with ThreadPoolExecutor(4) as pool:
        claims = list(pool.map(lambda _: at_work.claim(), range(12)))
    claimed = [claim.batch_id for claim in claims if claim]
    assert len(claimed) == len(set(claimed))
    assert set(claimed) <= batches
    # A rival that held a row at the wrong moment may have come back empty-handed: the rest is still there.
    while claim := at_work.claim():
        claimed.append(claim.batch_id)
    assert sorted(claimed) == sorted(batches)


def test_staff_go_before_the_night_run(at_work):
    at_work.waiting_batch(queue=Queue.BULK)
    staff = at_work.waiting_batch(queue=Queue.INTERACTIVE)
    assert at_work.claim().batch_id == staff


def test_a_slot_kept_free_for_staff_claims_no_bulk(at_work):
    at_work.waiting_batch(queue=Queue.BULK)
    assert at_work.claim(allow_bulk=False) is None
    assert at_work.claim(allow_bulk=True) is not None


def test_a_second_batch_does_not_wait_for_all_of_the_first(at_work):
    first = at_work.waiting_batch(images=2)
    with at_work.web.begin(department=at_work.hospital.department) as session:
        chunk = session.scalars(sa.select(Chunk).where(Chunk.batch_id == first)).one()
        twin = {
            column.key: getattr(chunk, column.key)
            for column in sa.inspect(Chunk).columns
            if column.key not in ("id", "created_at")
        }
        session.add(Chunk(**twin))
    second = at_work.waiting_batch()
    assert [at_work.claim().batch_id for _ in range(3)] == [first, second, first]


def test_a_renewed_lease_ends_later_and_a_lost_one_is_not_renewed(at_work):
    at_work.waiting_batch()
    claim = at_work.claim(lease_seconds=1)
    before = at_work.chunk(claim.chunk_id).lease_until
    with at_work.worker.begin() as session:
        assert ledger.renew(session, claim, lease_seconds=60)
    assert at_work.chunk(claim.chunk_id).lease_until > before
    with at_work.web.begin(department=at_work.hospital.department) as session:
        session.execute(sa.update(Chunk).values(lease_no=Chunk.lease_no + 1))
    with at_work.worker.begin() as session:
        assert not ledger.renew(session, claim, lease_seconds=60)


def test_a_released_chunk_waits_for_its_pause_and_is_not_isolated(at_work):
    at_work.waiting_batch()
    claim = at_work.claim()
    with at_work.worker.begin() as session:
        assert ledger.release(session, claim, after_seconds=3600)
    assert at_work.claim() is None
    chunk = at_work.chunk(claim.chunk_id)
    assert (chunk.state, chunk.isolated, chunk.lapses) == (ChunkState.READY, False, 0)


def test_a_chunk_released_without_a_pause_is_claimed_at_once_with_a_higher_number(at_work):
    at_work.waiting_batch()
    claim = at_work.claim()
    with at_work.worker.begin() as session:
        ledger.release(session, claim)
    assert at_work.claim().lease_no == claim.lease_no + 1


def test_a_chunk_is_claimed_for_the_model_that_it_wants_and_only_by_whom_can_load_it(at_work):
    wanted = "ef" * 32
    batch_id = at_work.waiting_batch()
    with at_work.web.begin(department=at_work.hospital.department) as session:
        published = {
            "digest": wanted,
            "name": "candidate-1",
            "state": "candidate",
            "manifest": {},
            "signature": b"",
            "published_by": at_work.hospital.installer,
        }
        session.execute(sa.insert(Model).values(published))
        session.execute(sa.update(Chunk).where(Chunk.batch_id == batch_id).values(wanted_model=wanted))
    assert at_work.claim(unservable=[wanted]) is None
    assert at_work.claim(unservable=["ab" * 32]).model_digest == wanted
