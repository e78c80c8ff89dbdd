from datetime import timedelta

import pytest

from dermabatch import audit
from dermabatch.audit import Action, Actor, ActorKind, Event, Filters, Outcome
from dermabatch.identifiers import new_id

HERE, THERE = new_id(), new_id()
NURSE = Actor(new_id(), ActorKind.PERSON, "10.1.2.3", request_id="r-1")
WORKER = Actor(None, ActorKind.SERVICE, "worker")


@pytest.fixture
def told(trail):
    """Five events: a nurse signs in, uploads and looks; the worker classifies; somebody elsewhere is refused."""
    with trail.database.sessions("web").begin() as session:
        for event in (
            Event(Action.SESSION_SIGN_IN, Outcome.SUCCESS, actor=NURSE),
            Event(Action.BATCH_UPLOAD, Outcome.SUCCESS, actor=NURSE, department_id=HERE, object_id="batch"),
            Event(
                Action.CHUNK_CLASSIFIED, Outcome.SUCCESS, actor=WORKER, department_id=HERE, object_id="chunk"
            ),
            Event(Action.BATCH_VIEW, Outcome.SUCCESS, actor=NURSE, department_id=HERE, object_id="batch"),
            Event(Action.BATCH_VIEW, Outcome.REFUSED, actor=WORKER, department_id=THERE, object_id="batch"),
        ):
            audit.append(session, event)
    trail.chainer.run_once()
    return trail


def found(trail, filters=audit.EVERYTHING, *, role="web", auditor=True, department=None, **page):
    with trail.database.sessions(role).begin(auditor=auditor, department=department) as session:
        return [event.seq for event in audit.search(session, filters, **page)]


@pytest.mark.parametrize(
    ("filters", "seqs"),
    [
        (Filters(), [5, 4, 3, 2, 1]),
        (Filters(actor_id=NURSE.id), [4, 2, 1]),
        (Filters(action=Action.BATCH_VIEW), [5, 4]),
        (Filters(action=Action.BATCH_VIEW, outcome=Outcome.REFUSED), [5]),
        (Filters(object_id="batch", department_id=HERE), [4, 2]),
        (Filters(object_type="image"), []),
    ],
)
def test_events_are_found_newest_first_by_all_conditions_together(told, filters, seqs):
    assert found(told, filters) == seqs


def test_times_are_found_from_the_first_on_and_before_the_second(told):
    with told.database.sessions("web").begin(auditor=True) as session:
        times = {seq: audit.event_at(session, seq).recorded_at for seq in (2, 4)}
    assert found(told, Filters(since=times[2], until=times[4])) == [3, 2]
    assert found(told, Filters(since=times[4] + timedelta(days=1))) == []


def test_pages_follow_each_other_without_a_gap_while_the_trail_grows(told):
    assert found(told, limit=2) == [5, 4]
    told.write()
    told.chainer.run_once()
    assert found(told, limit=2, after=4) == [3, 2]
    assert found(told, limit=2, after=2) == [1]


def test_a_department_sees_its_own_events_only(told):
    assert found(told, auditor=False, department=HERE) == [4, 3, 2]
    assert found(told, auditor=False, department=THERE) == [5]


def test_without_a_department_the_portal_sees_nothing(told):
    assert found(told, auditor=False) == []


@pytest.mark.parametrize("role", ["worker", "chainer"])
def test_worker_and_chainer_see_every_department(told, role):
    assert found(told, role=role, auditor=False) == [5, 4, 3, 2, 1]


def test_an_event_is_shown_whole(told):
    with told.database.sessions("web").begin(auditor=True) as session:
        event = audit.event_at(session, 2)
        assert audit.event_at(session, 6) is None
    assert (event.action, event.outcome, event.actor_id, event.actor_kind) == (
        Action.BATCH_UPLOAD,
        Outcome.SUCCESS,
        NURSE.id,
        ActorKind.PERSON,
    )
    assert (event.source, event.request_id, event.department_id) == ("10.1.2.3", "r-1", HERE)
    assert event.details == "{}"
