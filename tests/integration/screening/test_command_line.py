"""`dermabatch screen` as a person types it."""

import json
from contextlib import contextmanager
from threading import Event, Thread

import pytest

from dermabatch.lifecycle import ScreeningState

AS_NURSE = ("--user", "nurse@hospital.example")


@pytest.fixture
def typed_here(typed, archive, services, monkeypatch):
    """The command line on this test's services, with the keys of this test, beside a worker that works."""
    intake = archive.work.intake
    for name, value in services.environment("web", intake.worker.engine.url.database).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DERMABATCH_S3_BUCKET", "tests")
    monkeypatch.setattr("dermabatch.screening.attempt.KeyRing", lambda _: intake.keyring)

    def run(*words):
        with _working(archive.work):
            return typed("screen", *words, *AS_NURSE)

    return run


@contextmanager
def _working(work):
    done = Event()

    def work_on():
        pipeline = work.pipeline()
        while not done.wait(0.05):
            work.drain(pipeline)

    worker = Thread(target=work_on)
    worker.start()
    try:
        yield
    finally:
        done.set()
        worker.join()


def test_a_folder_is_screened_and_the_answer_adds_up(typed_here, archive):
    archive.add("Mustermann/a.jpg", "Mustermann/b.jpg")
    code, out, err = typed_here(archive.folder, "--json")
    answer = json.loads(out.splitlines()[-1])  # the worker beside it logs to the same place
    assert (code, err) == (0, "")
    assert answer["files"] == {
        "listed": 2,
        "skipped": 0,
        "taken_in": 2,
        "rescored": 0,
        "refused": 0,
        "unreadable": 0,
    }
    assert (answer["difference"], answer["state"], sum(answer["triage"].values())) == (0, "completed", 2)
    assert "Mustermann" not in out


def test_rescoring_with_a_candidate_says_what_would_change(typed_here, archive):
    archive.add("a.jpg", "b.jpg")
    archive.screen()
    candidate = archive.other_model()
    code, out, err = typed_here("--rescore", "--model", candidate[:8])
    assert code == 0, err
    assert "2 listed = 0 skipped + 0 taken in + 2 rescored" in out
    assert "Shown to this model again: 2, of which 0 change their level" in out


def test_a_source_that_is_not_there_ends_with_its_reason_and_a_run_that_says_so(typed_here, archive):
    code, _, err = typed_here(archive.folder / "unmounted")
    assert code == 1
    assert "not there" in err
    [run] = archive.runs()
    assert (run.state, run.stopped_by) == (ScreeningState.STOPPED, "source_unavailable")


@pytest.mark.parametrize("words", [(), ("--rescore", "folder")])
def test_either_a_source_or_a_rescoring(typed_here, words):
    code, _, err = typed_here(*words)
    assert (code, "Expected a SOURCE, or --rescore" in err) == (2, True)
