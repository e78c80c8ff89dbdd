"""Patients: one row for each number, also when two uploads bring it at once, and none after erasure."""

import os
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import sqlalchemy as sa

from dermabatch.erasures import erase_subject
from dermabatch.errors import ErasedSubject, NotFound
from dermabatch.objects import MemoryObjectStore
from dermabatch.schema import Subject
from dermabatch.subjects import (
    KeyRing,
    find_or_create_lesion,
    find_or_create_subject,
    find_subject,
    open_text,
    subject_key,
)
from tests.situations import Hospital, open_hospital, person

RING = KeyRing(os.urandom(32))


@pytest.fixture
def hospital(sessions) -> Hospital:
    return open_hospital(sessions)


def patient(sessions, department, number: str) -> Subject:
    with sessions.begin(department=department) as session:
        return find_or_create_subject(session, RING, department, number)


def erase(session, subject_id, user_id) -> None:
    erase_subject(session, subject_id, keyring=RING, store=MemoryObjectStore(), actor=person(user_id))


def test_a_number_is_the_same_patient_in_any_spelling_of_its_letters(sessions, hospital):
    assert (
        patient(sessions, hospital.department, " Mu\u0308ller-1 ").id
        == patient(sessions, hospital.department, "Müller-1").id
    )


def test_case_and_zeros_tell_patients_apart(sessions, hospital):
    numbers = ("0815", "815", "a1", "A1")
    assert len({patient(sessions, hospital.department, number).id for number in numbers}) == len(numbers)


def test_departments_do_not_share_patients(sessions, hospital):
    here = patient(sessions, hospital.department, "4711")
    assert patient(sessions, hospital.other_department, "4711").id != here.id
    with sessions.begin(department=hospital.other_department) as session:
        assert session.get(Subject, here.id) is None


def test_the_number_is_read_back_with_the_patients_key(sessions, hospital):
    subject = patient(sessions, hospital.department, "4711")
    assert open_text(subject.patient_sealed, subject_key(RING, subject), subject.id) == "4711"


def test_many_uploads_that_bring_a_patient_at_once_get_the_same_one(sessions, hospital):
    together = Barrier(6)

    def bring(_: int) -> tuple:
        together.wait()
        with sessions.begin(department=hospital.department) as session:
            subject = find_or_create_subject(session, RING, hospital.department, "new")
            lesion = find_or_create_lesion(
                session, RING, department_id=hospital.department, owner=subject, label="1"
            )
            return subject.id, subject.wrapped_key, lesion

    with ThreadPoolExecutor(6) as threads:
        assert len(set(threads.map(bring, range(6)))) == 1


def test_an_erased_patient_cannot_be_read_or_found(sessions, hospital, database):
    subject = patient(sessions, hospital.department, "4711")
    with sessions.begin(department=hospital.department) as session:
        erase(session, subject.id, hospital.nurse)
    with sessions.begin(department=hospital.department) as session:
        erased = session.get_one(Subject, subject.id)
        assert find_subject(session, RING, hospital.department, "4711") is None
    with pytest.raises(ErasedSubject):
        subject_key(RING, erased)
    with database.sessions("postgres").begin() as session:
        events = session.execute(
            sa.text("SELECT * FROM audit_pending WHERE action = 'subject.erased'")
        ).mappings()
        (event,) = events.all()
    assert event["object_id"] == str(subject.id)
    assert "4711" not in str(event)


def test_an_erased_patient_who_comes_again_is_a_new_one(sessions, hospital):
    before = patient(sessions, hospital.department, "4711")
    with sessions.begin(department=hospital.department) as session:
        erase(session, before.id, hospital.nurse)
    assert patient(sessions, hospital.department, "4711").id != before.id


def test_nobody_erases_twice_or_for_another_department(sessions, hospital):
    subject = patient(sessions, hospital.department, "4711")
    with pytest.raises(NotFound), sessions.begin(department=hospital.other_department) as session:
        erase(session, subject.id, hospital.other_nurse)
    with sessions.begin(department=hospital.department) as session:
        erase(session, subject.id, hospital.nurse)
    with pytest.raises(NotFound), sessions.begin(department=hospital.department) as session:
        erase(session, subject.id, hospital.nurse)
