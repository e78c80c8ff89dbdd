import time
from threading import Event, Timer

import pytest

from dermabatch.audit import Chainer
from dermabatch.audit.signer import Signer
from dermabatch.erasures import erase_subject
from dermabatch.errors import ConfigurationError
from dermabatch.queue import WakeUp
from dermabatch.schema import Subject
from dermabatch.subjects import KeyRing, find_or_create_subject
from tests.situations import TESTS, open_hospital
from worker import scheduler


@pytest.fixture
def scheduler_settings(settings, database):
    return settings.model_copy(
        update={
            "database_url": type(settings.database_url)(database.url("worker")),
            "chainer_url": type(settings.database_url)(database.url("chainer")),
            "sweep_seconds": 0.05,
        }
    )


@pytest.fixture
def stop():
    """Set in the end, so that a scheduler that goes on half-dead fails its test instead of hanging it."""
    event = Event()
    timer = Timer(20, event.set)
    timer.start()
    yield event
    timer.cancel()


def test_a_scheduler_whose_chainer_dies_ends(scheduler_settings, object_store, monkeypatch, stop):
    def die(self, stop):
        raise RuntimeError("the chainer has a bug")

    monkeypatch.setattr(Chainer, "run", die)
    started = time.monotonic()
    with pytest.raises(RuntimeError, match="the chainer has a bug"):
        scheduler.run(scheduler_settings, stop)
    assert time.monotonic() - started < 15


def test_a_scheduler_whose_signer_dies_ends(scheduler_settings, object_store, monkeypatch, stop):
    def die(self, stop, every_seconds):
        """Ends as a thread does that met a bug."""

    monkeypatch.setattr(Signer, "run", die)
    with pytest.raises(RuntimeError, match="signer"):
        scheduler.run(scheduler_settings, stop)


def test_a_scheduler_whose_sweeper_dies_ends_its_chainer_too(
    scheduler_settings, object_store, monkeypatch, stop
):
    def die(self):
        raise RuntimeError("the sweeper has a bug")

    monkeypatch.setattr(scheduler.Sweeper, "sweep", die)
    with pytest.raises(RuntimeError, match="the sweeper has a bug"):
        scheduler.run(scheduler_settings, stop)
    assert stop.is_set()


def test_an_erased_patient_whom_a_restore_brought_back_is_erased_within_the_first_sweep(
    settings, database, object_store
):
    keyring, web = KeyRing(settings.master_key), database.sessions("web")
    department = open_hospital(web).department
    with web.begin(department=department) as session:
        subject_id = find_or_create_subject(session, keyring, department, "P-4711").id
    with web.begin(department=department) as session:
        erase_subject(session, subject_id, keyring=keyring, store=object_store, actor=TESTS)
        # The storage remembers it, the database is the one from before.
        session.rollback()
    sweeper = scheduler.Sweeper(database.sessions("worker"), object_store, WakeUp(settings), keyring)
    sweeper.sweep()
    with web.begin(department=department) as session:
        assert session.get(Subject, subject_id).wrapped_key is None


def test_a_scheduler_ends_when_it_is_told_to(scheduler_settings, object_store, stop):
    stop.set()
    scheduler.run(scheduler_settings, stop)


def test_a_scheduler_that_cannot_sign_says_what_to_set(scheduler_settings, stop):
    with pytest.raises(ConfigurationError, match="DERMABATCH_CHAINER_URL"):
        scheduler.run(scheduler_settings.model_copy(update={"chainer_url": None}), stop)
