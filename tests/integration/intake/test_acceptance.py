"""An upload becomes a batch: rows, sealed bytes, work, an event, and a message."""

import hashlib
import io
import socket
import threading
import time
import zipfile
from dataclasses import replace

import pytest
import sqlalchemy as sa

from dermabatch.errors import Conflict, EmptyBatch, KeyUsedBefore, QuotaExceeded
from dermabatch.imaging.inspection import inspect
from dermabatch.lifecycle import BatchState, ChunkState, ImageState, PackState, Queue
from dermabatch.packs import open_sealed
from dermabatch.queue import WakeUp
from dermabatch.schema import Batch, Chunk, Image, Pack
from dermabatch.subjects import data_key
from tests.integration.intake.conftest import Intake, Row, incoming, picture, pictures


def test_good_pictures_wait_with_their_bytes_sealed_in_packs(intake: Intake):
    acceptance = intake.upload(pictures(7))
    assert (acceptance.received, acceptance.stored, acceptance.rejected) == (7, 7, 0)
    images = intake.images(acceptance.batch_id)
    assert [image.state for image in images] == [ImageState.PENDING] * 7
    with intake.worker.begin() as session:
        packs = session.scalars(sa.select(Pack).order_by(Pack.ordinal)).all()
        chunks = session.scalars(sa.select(Chunk).order_by(Chunk.id)).all()
    assert [(pack.ordinal, pack.state) for pack in packs] == [(n, PackState.STORED) for n in range(3)]
    assert [(chunk.state, chunk.pack_id) for chunk in chunks] == [
        (ChunkState.READY, pack.id) for pack in packs
    ]
    assert {pack.object_key for pack in packs} == intake.objects()
    by_id = {pack.id: pack for pack in packs}
    for number, image in enumerate(images):
        pack = by_id[image.pack_id]
        data = intake.store.get(pack.object_key)
        assert hashlib.sha256(data).hexdigest() == pack.sha256
        assert len(data) == pack.size_bytes
        sealed = intake.store.get_range(pack.object_key, image.pack_offset, image.pack_length)
        stripped = inspect(picture(number), "x.jpg").stripped
        assert open_sealed(sealed, data_key(intake.keyring, image), image.id) == stripped
        assert image.sha256 == hashlib.sha256(picture(number)).hexdigest()
        assert (image.width, image.height, image.format) == (96, 72, "jpeg")


def test_the_batch_is_accepted_with_the_streams_count_and_adds_up(intake: Intake):
    acceptance = intake.upload([*pictures(4), incoming("notes.txt", b"hello")], queue=Queue.BULK)
    (batch,) = intake.batches()
    assert (batch.state, batch.received, batch.queue) == (BatchState.ACCEPTED, 5, Queue.BULK)
    assert batch.accepted_at is not None
    counts = intake.counts(acceptance.batch_id)
    assert (counts.pending, counts.rejected, counts.difference) == (4, 1, 0)


def test_workers_are_woken_but_not_more_than_have_slots(intake: Intake):
    intake.upload(pictures(18))
    assert intake.wake_up.waiting() == intake.settings.worker_slots


def test_a_batch_of_refused_files_is_accepted_and_wakes_nobody(intake: Intake):
    acceptance = intake.upload([incoming("a.txt", b"hello")])
    assert (acceptance.stored, acceptance.rejected) == (0, 1)
    assert intake.counts(acceptance.batch_id).difference == 0
    assert intake.wake_up.waiting() == 0


def test_an_upload_is_an_event_with_its_counts_and_without_names(intake: Intake, database):
    acceptance = intake.upload(
        [*pictures(1), incoming("Mustermann.txt", b"x")], metadata="file,patient\n0.jpg,4711\n"
    )
    with database.sessions("postgres").begin() as session:
        events = (
            session.execute(sa.text("SELECT * FROM audit_pending WHERE action = 'batch.upload'"))
            .mappings()
            .all()
        )
    accepted = next(event for event in events if event["object_id"] == str(acceptance.batch_id))
    assert accepted["actor_id"] == intake.nurse.id
    assert '"received":2' in accepted["details"]
    assert "Mustermann" not in str(events)
    assert "4711" not in str(events)


def test_no_table_holds_a_readable_name_or_number(intake: Intake, database):
    intake.upload(
        [incoming("Mustermann.jpg", picture(1))],
        metadata="file,patient,lesion_id\nMustermann.jpg,PAT-4711,LES-0815\n",
    )
    with database.sessions("postgres").begin() as session:
        tables = session.scalars(sa.text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all()
        everything = "".join(
            text for table in tables for text in session.scalars(sa.text(f"SELECT t::text FROM {table} t"))
        )
    for secret in ("Mustermann", "PAT-4711", "LES-0815"):
        assert secret not in everything
        assert secret.encode().hex() not in everything


def test_another_department_sees_nothing_of_it(intake: Intake):
    intake.upload(pictures(1))
    with intake.web.begin(department=intake.hospital.other_department) as session:
        for table in (Batch, Pack, Chunk, Image):
            assert session.scalar(sa.select(sa.func.count()).select_from(table)) == 0


def test_memory_holds_two_packs_at_most_however_long_the_upload(intake: Intake):
    """The stream is asked for a file only after the pack before the last one is stored."""
    seen: list[int] = []

    def files():
        for number in range(12):
            seen.append(len(intake.objects()))
            yield incoming(f"{number}.jpg", picture(number))

    intake.upload(files())
    assert all(stored >= number // 3 - 1 for number, stored in enumerate(seen))


def test_an_upload_without_a_file_leaves_no_batch(intake: Intake):
    with pytest.raises(EmptyBatch):
        intake.upload([], metadata="file,patient\na.jpg,P1\n")
    assert [batch.state for batch in intake.batches()] == [BatchState.ABANDONED]


def test_an_archive_past_the_quota_leaves_no_work_and_no_batch(intake: Intake):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(6):
            archive.writestr(f"{number}.jpg", picture(number))
        archive.writestr("bomb.jpg", bytes(2_000_000))
    with pytest.raises(QuotaExceeded):
        intake.with_settings(max_upload_bytes=1_000_000).upload([incoming("upload.zip", stream.getvalue())])
    (batch,) = intake.batches()
    assert batch.state is BatchState.ABANDONED
    counts = intake.counts(batch.id)
    assert counts.pending == counts.difference == 0
    with intake.worker.begin() as session:
        assert set(session.scalars(sa.select(Chunk.state))) <= {ChunkState.CANCELLED}


def test_the_same_key_again_gives_the_first_answer(intake: Intake):
    first = intake.upload([*pictures(2), incoming("a.txt", b"x")], key="monday")
    again = intake.upload([incoming("a.txt", b"x"), *pictures(2)], key="monday")
    assert again == replace(first, repeated=True)
    assert len(intake.batches()) == 1


@pytest.mark.parametrize("others", [3, 1], ids=["one more", "one less"])
def test_the_same_key_with_other_files_is_refused_rather_than_losing_them(intake: Intake, others):
    intake.upload(pictures(2), key="monday")
    with pytest.raises(KeyUsedBefore, match="Nothing of them was stored"):
        intake.upload(pictures(others), key="monday")
    assert len(intake.batches()) == 1


def test_the_same_key_is_another_upload_for_another_person(intake: Intake):
    first = intake.upload(pictures(1), key="monday")
    with intake.web.begin() as session:
        administrator = replace(
            intake, nurse=session.get_one(type(intake.nurse), intake.hospital.administrator)
        )
    assert administrator.upload(pictures(1), key="monday").batch_id != first.batch_id


def test_a_key_of_an_upload_that_is_still_coming_is_a_conflict(intake: Intake):
    coming, go_on = threading.Event(), threading.Event()

    def slow_files():
        yield from pictures(1)
        coming.set()
        go_on.wait(10)

    answers = []
    first = threading.Thread(target=lambda: answers.append(intake.upload(slow_files(), key="monday")))
    first.start()
    coming.wait(10)
    with pytest.raises(Conflict, match="still being received"):
        intake.upload(pictures(1), key="monday")
    go_on.set()
    first.join()
    assert intake.upload(pictures(1), key="monday") == replace(answers[0], repeated=True)


def test_a_key_of_an_upload_that_broke_off_may_be_used_again(intake: Intake):
    with pytest.raises(EmptyBatch):
        intake.upload([], key="monday")
    assert intake.upload(pictures(1), key="monday").repeated is False


@pytest.mark.parametrize("answers", [False, True], ids=["refuses", "hangs"])
def test_an_upload_succeeds_in_time_without_redis(intake: Intake, answers: bool):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        if answers:
            nobody.listen()  # takes connections and never says a word
        url = f"redis://127.0.0.1:{nobody.getsockname()[1]}/0"
        settings = type(intake.settings)(**{**intake.settings.model_dump(), "redis_url": url})
        started = time.monotonic()
        acceptance = replace(intake, wake_up=WakeUp(settings)).upload(pictures(9))
        assert time.monotonic() - started < 2
    assert acceptance.stored == 9


def test_names_of_any_kind_get_their_row(intake: Intake):
    names = ["", "ä/ö ü.jpg", "half\udc80.jpg", "nul\0.jpg", "n" * 5000 + ".jpg"]
    acceptance = intake.upload([incoming(name, picture(n)) for n, name in enumerate(names)])
    assert acceptance.stored == len(names)
    assert intake.rows(acceptance.batch_id)[1] == Row("ä/ö ü.jpg", ImageState.PENDING, None)


def test_the_turn_of_a_camera_is_kept_though_the_metadata_is_not(intake: Intake):
    turned = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    jpeg = picture(1)
    jpeg = jpeg[:2] + b"\xff\xe1" + (len(turned) + 2).to_bytes(2, "big") + turned + jpeg[2:]
    (image,) = intake.images(intake.upload([incoming("turned.jpg", jpeg)]).batch_id)
    assert (image.orientation, image.width, image.height) == (6, 72, 96)
    assert image.pack_length < len(jpeg)
