"""Scheduled screenings: one a night whoever starts it, alerts once each, and nights that were missed."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import pytest
import sqlalchemy as sa

from dermabatch.alerts import AlertNotTaken
from dermabatch.errors import Conflict
from dermabatch.lifecycle import ScreeningState
from dermabatch.schema import User
from dermabatch.screening.attempt import Interrupted
from dermabatch.screening.schedules import last_due
from dermabatch.screening.sources import SourceUnavailable
from dermabatch.screening.tables import ScreeningAlert, ScreeningRun
from dermabatch.screening.watching import NightWatch
from dermabatch.settings import NightRun
from tests.integration.screening.conftest import counts
from worker.nights import TRY_AGAIN, start_if_due

VIENNA = "Europe/Vienna"


class Told(list):
    """A channel that keeps what it is told, or does not answer."""

    answers = True

    def deliver(self, alert):
        if not self.answers:
            raise AlertNotTaken("nobody there")
        self.append(alert)

    @property
    def kinds(self):
        return [alert.kind for alert in self]


class Nights:
    """A schedule over the archive, and a clock that the test sets."""

    def __init__(self, archive, **settings):
        self.archive = archive
        self.schedule = NightRun(name="archive", source=str(archive.folder), cron="30 2 * * *", **settings)
        self.channel = Told()

    def run(self, moment):
        settings = self.archive.work.intake.settings.model_copy(
            update={"time_zone": VIENNA, "night_runs": (self.schedule,)}
        )
        return start_if_due(
            self.schedule,
            means=replace(self.archive.means, settings=settings),
            stop=self.archive.stop,
            now=lambda _means: moment,
            tell=self.archive.classify,
        )

    def watch(self, moment):
        NightWatch(
            [self.schedule],
            time_zone=VIENNA,
            sessions=self.archive.work.intake.worker,
            channels=[self.channel],
        ).look(moment)

    def end_pause(self):
        with self.archive.work.intake.worker.begin() as session:
            session.execute(sa.update(ScreeningAlert).values(tried_at=None))

    def move(self, **changes):
        """The only run, as if it were in another place."""
        hospital = self.archive.work.intake.hospital
        with self.archive.work.intake.web.begin(department=hospital.department) as session:
            session.execute(sa.update(ScreeningRun).values(**changes))


@pytest.fixture
def nights(archive):
    archive.add("a.jpg", "b.jpg")
    return Nights(archive)


def now():
    return datetime.now(UTC)


def utc(*moment):
    return datetime(*moment, tzinfo=UTC)


def test_a_night_is_screened_once_whoever_asks_and_however_often(nights):
    assert counts(nights.run(utc(2027, 1, 15, 1, 30))) == {"listed": 2, "taken in": 2}
    assert nights.run(utc(2027, 1, 15, 1, 31)) is None
    assert nights.run(utc(2027, 1, 15, 9, 0)) is None
    assert counts(nights.run(utc(2027, 1, 16, 1, 30))) == {"listed": 2, "skipped": 2}
    assert [(run.name, run.night) for run in nights.archive.runs()] == [
        ("archive", date(2027, 1, 15)),
        ("archive", date(2027, 1, 16)),
    ]


def test_it_is_taken_in_by_the_service_principal_of_the_night(nights):
    nights.run(utc(2027, 1, 15, 1, 30))
    [batch] = nights.archive.work.intake.batches()
    with nights.archive.work.intake.web.begin() as session:
        assert session.get_one(User, batch.submitted_by).email == "night-run@service.invalid"


def test_a_second_scheduler_finds_the_night_taken(nights):
    refused = []

    def another_scheduler(progress):
        if not refused:
            with pytest.raises(Conflict) as conflict:
                nights.run(utc(2027, 1, 15, 1, 30))
            refused.append(conflict)
        original(progress)

    original = nights.archive.classify
    nights.archive.classify = another_scheduler
    assert counts(nights.run(utc(2027, 1, 15, 1, 30))) == {"listed": 2, "taken in": 2}
    assert len(nights.archive.runs()) == 1
    assert refused


def test_across_a_change_of_the_clock_every_night_has_its_one_run(nights):
    """26 to 29 March 2027 by somebody who looks every 45 minutes; on the 28th there is no 02:30 in Vienna."""
    moment, ran = utc(2027, 3, 26, 0, 0), []
    while moment < utc(2027, 3, 29, 12, 0):
        if (report := nights.run(moment)) is not None:
            ran.append(report.night)
        moment += timedelta(minutes=45)
    assert ran == ["2027-03-26", "2027-03-27", "2027-03-28", "2027-03-29"]


def test_a_missed_night_is_told_once_and_the_next_one_goes_on_as_if_nothing_had_been(nights):
    morning = utc(2027, 1, 15, 13, 45)
    nights.watch(utc(2027, 1, 15, 1, 40))
    assert nights.channel == []
    for _ in range(3):
        nights.watch(morning)
    assert nights.channel.kinds == ["not_started"]
    assert str(nights.archive.folder) not in nights.channel[0].message
    assert nights.run(morning) is None  # staff are at work

    assert counts(nights.run(utc(2027, 1, 16, 1, 30))) == {"listed": 2, "taken in": 2}
    nights.watch(utc(2027, 1, 16, 2, 0))
    assert nights.channel.kinds == ["not_started"]


def test_an_alert_that_nobody_took_is_told_again(nights):
    nights.channel.answers = False
    nights.watch(utc(2027, 1, 15, 2, 0))
    nights.channel.answers = True
    nights.watch(utc(2027, 1, 15, 2, 1))
    assert nights.channel == []  # not at once: a server that is down is not helped by that
    nights.end_pause()
    nights.watch(utc(2027, 1, 15, 2, 2))
    assert nights.channel.kinds == ["not_started"]


def test_a_source_that_is_away_raises_an_alert_and_is_tried_again_the_same_night(nights):
    away = nights.archive.folder.rename(nights.archive.folder.with_name("unmounted"))
    start = last_due(nights.schedule, VIENNA, now()).starts_at
    with pytest.raises(SourceUnavailable):
        nights.run(start)
    nights.watch(start + timedelta(minutes=1))
    assert nights.channel.kinds == ["stopped"]

    away.rename(nights.archive.folder)
    nights.move(progress_at=start)
    assert nights.run(start + TRY_AGAIN - timedelta(seconds=1)) is None
    assert counts(nights.run(start + TRY_AGAIN)) == {"listed": 2, "taken in": 2}


def test_a_deployment_in_the_night_raises_no_alert_and_the_next_start_goes_on_at_once(nights):
    start = last_due(nights.schedule, VIENNA, now()).starts_at
    nights.archive.stop.set()
    with pytest.raises(Interrupted):
        nights.run(start)
    nights.watch(start + timedelta(minutes=1))
    assert nights.channel == []

    nights.archive.stop.clear()
    assert counts(nights.run(start + timedelta(minutes=1))) == {"listed": 2, "taken in": 2}


def test_a_run_in_which_nothing_moves_is_told(nights):
    start = last_due(nights.schedule, VIENNA, now()).starts_at

    def die(progress):
        if progress.outstanding:
            raise Interrupted("no worker, and then no scheduler either")

    nights.archive.classify = die
    with pytest.raises(Interrupted):
        nights.run(start)
    nights.move(state=ScreeningState.CLASSIFYING, stopped_by=None, progress_at=start)
    nights.watch(start + timedelta(minutes=14))
    assert nights.channel == []
    nights.watch(start + timedelta(minutes=16))
    assert nights.channel.kinds == ["stalled"]


def test_a_run_that_will_miss_its_deadline_is_told_before_it_does(archive):
    archive.add("a.jpg", "b.jpg")
    nights = Nights(archive)
    due = last_due(nights.schedule, VIENNA, now())

    def classify_one_and_die(progress):
        if progress.outstanding:
            archive.work.pipeline().claim_and_classify()
            raise Interrupted("no worker any more")

    archive.work.intake = archive.work.intake.with_settings(pack_images=1)
    archive.classify = classify_one_and_die
    with pytest.raises(Interrupted):
        nights.run(due.starts_at)
    alive = {"state": ScreeningState.CLASSIFYING, "stopped_by": None, "started_at": due.starts_at}
    # One of two images in two hours: the other one will be there half an hour late.
    two_hours = due.starts_at + timedelta(hours=2)
    nights.move(**alive, progress_at=two_hours, deadline=due.starts_at + timedelta(hours=3, minutes=30))
    nights.watch(two_hours)
    assert nights.channel.kinds == ["late"]
    assert "1 images wait" in nights.channel[0].message


def test_a_run_ends_taking_in_at_its_deadline(archive, monkeypatch):
    monkeypatch.setattr("dermabatch.screening.screening.UPLOAD_FILES", 1)
    archive.add("a.jpg", "b.jpg")
    nights = Nights(archive, deadline=time(6))
    due = last_due(nights.schedule, VIENNA, now())
    if due.deadline > now():
        due = last_due(nights.schedule, VIENNA, due.starts_at - timedelta(minutes=1))

    report = nights.run(due.starts_at)  # by the database's clock the deadline has long passed

    assert (report.cut_short, report.state) == ("deadline", ScreeningState.COMPLETED)
    assert report.files.difference == 0


def test_the_database_refuses_a_second_run_of_a_night(nights):
    nights.run(utc(2027, 1, 15, 1, 30))
    [run] = nights.archive.runs()
    copy = {column.name: getattr(run, column.name) for column in ScreeningRun.__table__.columns}
    copy["id"] = run.department_id
    with (
        pytest.raises(sa.exc.IntegrityError, match="uq_screening_runs_name_night"),
        nights.archive.work.intake.web.begin(department=run.department_id) as session,
    ):
        session.execute(sa.insert(ScreeningRun).values(copy))
