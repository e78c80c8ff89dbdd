"""Whatever ends a screening in the middle, what was done is kept, the state says so, and the next start goes on."""

import pytest
import sqlalchemy as sa

from dermabatch import ledger
from dermabatch.errors import Conflict, ObjectStoreUnavailable
from dermabatch.intake import acceptance
from dermabatch.lifecycle import BatchState, ScreeningState
from dermabatch.screening import files, screening
from dermabatch.screening.attempt import Interrupted
from dermabatch.screening.sources import FolderSource, SourceUnavailable
from dermabatch.screening.sources.base import no_permission
from dermabatch.screening.tables import ScreeningRun
from tests.integration.screening.conftest import counts, small_uploads

NAMES = tuple(f"{number}.jpg" for number in range(6))


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours may handle it, so the tests that raise it disarm every handler."""


@pytest.fixture
def kill_at(monkeypatch):
    """The process dies when a function is called for the second time: no handler gets to write anything."""

    def arm(module, name, *, after=False):
        real, calls = getattr(module, name), []

        def dying(*arguments, **named):
            calls.append(1)
            if len(calls) == 2 and not after:
                raise Killed
            result = real(*arguments, **named)
            if len(calls) == 2:
                raise Killed
            return result

        monkeypatch.setattr(module, name, dying)
        monkeypatch.setattr("dermabatch.screening.runs._note_stop", lambda *_: None)
        monkeypatch.setattr(acceptance, "_leave_nothing", lambda *_: None)

    return arm


@pytest.mark.parametrize(
    ("module", "name", "after"),
    [
        pytest.param(files, "write_plan", False, marks=pytest.mark.long),
        (files, "write_plan", True),
        pytest.param(screening, "accept_upload", False, marks=pytest.mark.long),
        (acceptance, "_accept", False),
        (screening, "accept_upload", True),
        pytest.param(files, "settle", False, marks=pytest.mark.long),
    ],
)
def test_a_kill_loses_nothing_and_counts_nothing_twice(archive, monkeypatch, kill_at, module, name, after):
    small_uploads(monkeypatch, 2)
    archive.add(*NAMES)
    kill_at(module, name, after=after)
    with pytest.raises(Killed):
        archive.screen()
    monkeypatch.undo()
    small_uploads(monkeypatch, 2)
    archive.work.drain()

    report = archive.screen()

    assert (report.state, report.starts) == (ScreeningState.COMPLETED, 2)
    assert counts(report) == {"listed": 6, "taken in": 6}
    assert sum(report.triage.values()) == sum(report.images.values()) == 6
    seen_by_people = [b for b in archive.work.intake.batches() if b.state is BatchState.ACCEPTED]
    assert sum(batch.received for batch in seen_by_people) == 6
    with archive.work.intake.worker.begin() as session:
        assert ledger.conservation(session).holds
    assert counts(archive.screen()) == {"listed": 6, "skipped": 6}


def test_somebody_who_stops_it_goes_on_where_it_was(archive, monkeypatch):
    small_uploads(monkeypatch, 2)
    archive.add(*NAMES)

    def stop_after_four(progress):
        if progress.taken_in == 4:
            archive.stop.set()

    with pytest.raises(Interrupted):
        archive.screen(tell=stop_after_four)
    stopped = archive.report()
    assert (stopped.state, stopped.stopped_by) == (ScreeningState.STOPPED, "interrupted")
    assert stopped.files.taken_in == 4

    archive.stop.clear()
    report = archive.screen()
    assert counts(report) == {"listed": 6, "taken in": 6}
    assert len(archive.runs()) == 1


def test_a_source_that_vanishes_half_way_is_no_empty_source(archive, monkeypatch):
    small_uploads(monkeypatch, 2)
    archive.add(*NAMES)
    away = archive.folder.with_name("unmounted")

    def vanish_after_two(progress):
        if progress.taken_in == 2 and archive.folder.exists():
            archive.folder.rename(away)

    with pytest.raises(SourceUnavailable):
        archive.screen(tell=vanish_after_two)
    stopped = archive.report()
    assert (stopped.state, stopped.stopped_by) == (ScreeningState.STOPPED, "source_unavailable")

    away.rename(archive.folder)
    assert counts(archive.screen()) == {"listed": 6, "taken in": 6}


def test_a_full_storage_stops_it_and_room_lets_it_go_on(archive, monkeypatch):
    archive.add("a.jpg")

    def full(*_, **__):
        raise ObjectStoreUnavailable("The storage refused to put packs/...: 507")

    with monkeypatch.context() as patched:
        patched.setattr(type(archive.work.intake.store), "put", full)
        with pytest.raises(ObjectStoreUnavailable):
            archive.screen()
    assert archive.report().stopped_by == "storage_unavailable"

    assert counts(archive.screen()) == {"listed": 1, "taken in": 1}


def test_a_file_that_may_not_be_read_is_named_and_tried_again(archive, monkeypatch):
    archive.add("a.jpg", "b.jpg")
    real = FolderSource.read

    def forbidden(source, file, **limits):
        if file.name == "b.jpg":
            raise no_permission()
        return real(source, file, **limits)

    with monkeypatch.context() as patched:
        patched.setattr(FolderSource, "read", forbidden)
        report = archive.screen()
    assert counts(report) == {"listed": 2, "taken in": 1, "unreadable": 1}
    assert report.reasons == {"unreadable_file": 1}
    [batch] = archive.work.intake.batches()
    assert ("b.jpg", "unreadable_file") in {
        (row.name, row.reason) for row in archive.work.intake.rows(batch.id)
    }

    assert counts(archive.screen()) == {"listed": 2, "skipped": 1, "taken in": 1}


def test_two_at_once_are_one_and_a_refusal(archive):
    archive.add("a.jpg")
    refused = []

    def start_another(progress):
        if not refused:
            with pytest.raises(Conflict) as conflict:
                archive.screen(tell=lambda _: None)
            refused.append(conflict.value)
        archive.classify(progress)

    report = archive.screen(tell=start_another)

    assert "being screened already" in str(refused[0])
    assert counts(report) == {"listed": 1, "taken in": 1}


def test_a_start_that_lost_its_place_may_write_no_more(archive, monkeypatch):
    """Its connection was cut, another start took its lock, and then it wakes."""
    small_uploads(monkeypatch, 1)
    archive.add("a.jpg", "b.jpg")
    hospital = archive.work.intake.hospital

    def be_taken_over(progress):
        if progress.taken_in == 1:
            with archive.work.intake.web.begin(department=hospital.department) as session:
                session.execute(sa.update(ScreeningRun).values(starts=ScreeningRun.starts + 1))

    with pytest.raises(Conflict, match="started anew"):
        archive.screen(tell=be_taken_over)
    taken_over = archive.report()
    assert (taken_over.state, taken_over.files.taken_in) == (ScreeningState.LISTING, 1)
    assert counts(archive.screen()) == {"listed": 2, "taken in": 2}
