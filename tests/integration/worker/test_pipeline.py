"""What a worker does with a chunk, whatever happens on the way."""

import os
from dataclasses import dataclass

import pytest
import sqlalchemy as sa

from dermabatch import ledger
from dermabatch.erasures import erase_subject
from dermabatch.errors import ObjectStoreUnavailable, ServiceUnavailable
from dermabatch.imaging.sandbox import DecoderPool
from dermabatch.lifecycle import ChunkState, ImageState, Queue
from dermabatch.subjects import KeyRing
from tests.integration.intake.conftest import incoming, picture, pictures
from tests.situations import person


@dataclass
class FalteringStore:
    """The real storage, which does not take the next derived object."""

    real: object
    failures: int = 1

    def __getattr__(self, name):
        return getattr(self.real, name)

    def put(self, key, data, **options):
        if key.startswith("derived/") and self.failures:
            self.failures -= 1
            raise ObjectStoreUnavailable("The storage did not put it.")
        self.real.put(key, data, **options)


def test_uploaded_pictures_come_out_classified_with_thumbnail_and_saliency(work):
    batch_id = work.intake.upload(pictures(4)).batch_id
    work.drain()
    counts = work.intake.counts(batch_id)
    assert (counts.classified + counts.unassessable, counts.difference) == (4, 0)
    predictions = work.predictions(batch_id)
    assert len({prediction.image_id for prediction in predictions}) == 4
    for prediction in predictions:
        assert sum(prediction.probabilities) == pytest.approx(1)
        derived = work.derived_of(prediction)
        assert derived.thumbnail.startswith(b"\xff\xd8")
        assert derived.saliency.shape[-1] == 7
    assert [chunk.state for chunk in work.chunks(batch_id)] == [ChunkState.DONE] * 2


def test_the_trail_has_one_event_for_each_chunk(work, database):
    work.intake.upload(pictures(4))
    work.drain()
    with database.sessions("chainer").begin() as session:
        events = session.scalar(
            sa.text("SELECT count(*) FROM audit_pending WHERE action = 'chunk.classified'")
        )
    assert events == 2


def test_staff_who_wait_go_before_the_night_run(work):
    night = work.intake.upload(pictures(3), queue=Queue.BULK).batch_id
    staff = work.intake.upload([incoming("urgent.jpg", picture(9))]).batch_id
    work.pipeline().claim_and_classify()
    assert work.intake.counts(staff).done
    assert work.intake.counts(night).pending == 3


def test_images_of_an_erased_patient_are_refused_and_the_others_classified(work):
    csv = "file,patient\n0.jpg,P-1\n"
    batch_id = work.intake.upload(pictures(2), metadata=csv).batch_id
    [subject_id] = {image.subject_id for image in work.intake.images(batch_id) if image.subject_id}
    with work.intake.web.begin(department=work.intake.hospital.department) as session:
        erase_subject(
            session,
            subject_id,
            keyring=work.intake.keyring,
            store=work.intake.store,
            actor=person(work.intake.nurse.id),
        )
    work.drain()
    erased, other = work.intake.images(batch_id)
    assert (erased.state, erased.reason_code) == (ImageState.REJECTED, "erased")
    assert other.state in (ImageState.CLASSIFIED, ImageState.UNASSESSABLE)


def test_a_pack_whose_bytes_are_gone_backs_off_and_holds_nothing_else_up(work):
    broken = work.intake.upload(pictures(1)).batch_id
    sound = work.intake.upload([incoming("sound.jpg", picture(5))]).batch_id
    pack = work.intake.store.get(work.pack_key(broken))
    work.intake.store.delete(work.pack_key(broken))
    work.drain()
    assert work.intake.counts(sound).done
    assert work.intake.counts(broken).pending == 1
    [chunk] = work.chunks(broken)
    assert work.return_lapsed() == {str(chunk.id): 1}
    work.drain()
    assert work.return_lapsed() == {str(chunk.id): 2}
    assert not work.pipeline().claim_and_classify()  # it waits, longer each time

    work.intake.store.put(work.pack_key(broken), pack)
    work.end_pauses()
    work.drain()
    assert work.intake.counts(broken).pending == 0


def test_a_changed_pack_fails_none_of_its_images(work):
    batch_id = work.intake.upload(pictures(2)).batch_id
    work.intake.store.put(work.pack_key(batch_id), b"something else")
    work.drain()
    assert work.intake.counts(batch_id).pending == 2


def test_a_worker_with_the_wrong_master_key_refuses_no_image(work):
    batch_id = work.intake.upload(pictures(2)).batch_id
    work.drain(work.pipeline(keyring=KeyRing(os.urandom(32))))
    assert work.intake.counts(batch_id).pending == 2


def test_a_chunk_whose_derived_object_cannot_be_stored_is_given_back(work):
    batch_id = work.intake.upload(pictures(2)).batch_id
    faltering = work.pipeline(store=FalteringStore(work.intake.store))
    with pytest.raises(ServiceUnavailable):
        faltering.claim_and_classify()
    [chunk] = work.chunks(batch_id)
    assert (chunk.state, chunk.lapses, chunk.isolated) == (ChunkState.READY, 0, False)
    work.end_pauses()
    work.drain(faltering)
    assert work.intake.counts(batch_id).done


@pytest.mark.parametrize("words", ["UPDATE chunks", "INSERT INTO predictions", "append_audit"])
def test_a_chunk_whose_record_is_cut_off_is_given_back_whole(work, words):
    batch_id = work.intake.upload(pictures(2)).batch_id
    work.engine.before_run.append(lambda: work.cut_database_at(words))
    with pytest.raises(ServiceUnavailable, match="The database does not answer"):
        work.pipeline().claim_and_classify()
    assert work.chunks(batch_id)[0].state is ChunkState.READY
    assert work.intake.counts(batch_id).pending == 2
    work.end_pauses()
    work.drain()
    assert len(work.predictions(batch_id)) == 2


def test_a_database_that_is_away_is_a_missing_service_and_no_bug(work):
    work.intake.upload(pictures(1))
    pipeline = work.pipeline()
    work.cut_database_at("FROM models")
    with pytest.raises(ServiceUnavailable):
        pipeline.claim_and_classify()
    work.drain(pipeline)


def test_an_engine_without_memory_sends_its_chunk_to_quarantine_at_once(work):
    batch_id = work.intake.upload(pictures(1)).batch_id

    def no_memory():
        raise MemoryError

    work.engine.before_run.append(no_memory)
    with pytest.raises(MemoryError):
        work.pipeline().claim_and_classify()
    [chunk] = work.chunks(batch_id)
    assert work.return_lapsed() == {str(chunk.id): 1}
    assert work.chunks(batch_id)[0].isolated
    work.drain()
    assert work.intake.counts(batch_id).done
    assert work.intake.images(batch_id)[0].stops == 0


def test_an_image_whose_decoder_died_is_classified_in_quarantine_and_not_blamed(work):
    batch_id = work.intake.upload(pictures(2)).batch_id
    with DecoderPool(1, operations="tests.integration.worker.deadly_operations") as deadly:
        work.drain(work.pipeline(decoders=deadly))
    counts = work.intake.counts(batch_id)
    assert counts.classified + counts.unassessable == 2
    assert [image.stops for image in work.intake.images(batch_id)] == [0, 0]


def test_a_worker_told_to_stop_gives_a_quarantined_chunk_back(work):
    batch_id = work.intake.upload(pictures(1)).batch_id
    with work.intake.worker.begin() as session:
        session.execute(sa.text("UPDATE chunks SET isolated = true"))
    work.stopping.set()
    with pytest.raises(ServiceUnavailable, match="told to stop"):
        work.pipeline().claim_and_classify()
    [chunk] = work.chunks(batch_id)
    assert (chunk.state, chunk.isolated, chunk.lapses) == (ChunkState.READY, True, 0)


def test_a_batch_cancelled_in_mid_chunk_stays_cancelled_and_leaves_no_object(work):
    batch_id = work.intake.upload(pictures(2)).batch_id

    def cancel():
        with work.intake.web.begin(department=work.intake.hospital.department) as session:
            ledger.cancel_batch(session, batch_id, actor=person(work.intake.nurse.id))

    work.engine.before_run.append(cancel)
    work.drain()
    assert work.intake.counts(batch_id).cancelled == 2
    assert work.predictions(batch_id) == []
    assert work.derived_keys() == []
    assert work.chunks(batch_id)[0].late_writes == 1


def test_the_object_of_a_holder_that_was_killed_goes_with_the_next_record(work):
    batch_id = work.intake.upload(pictures(1)).batch_id
    [chunk] = work.chunks(batch_id)
    work.intake.store.put(
        f"derived/{batch_id}/{chunk.id}-1", b"of a worker that was killed before its record"
    )
    with work.intake.worker.begin() as session:
        session.execute(sa.text("UPDATE chunks SET lease_no = 1"))
    work.drain()
    assert work.derived_keys() == [f"derived/{batch_id}/{chunk.id}-2"]


def test_a_zombie_leaves_the_object_of_its_successor_alone(work):
    batch_id = work.intake.upload(pictures(1)).batch_id
    zombie, rival = work.pipeline(), work.pipeline()

    def overtaken():
        with work.intake.worker.begin() as session:
            session.execute(sa.text("UPDATE chunks SET state = 'ready', lease_until = NULL"))
        rival.claim_and_classify()

    work.engine.before_run.append(overtaken)
    zombie.claim_and_classify()
    [prediction] = work.predictions(batch_id)
    assert work.derived_keys() == [prediction.derived_key]
    assert work.chunks(batch_id)[0].late_writes == 1
