import threading
import time
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
import sqlalchemy as sa
from structlog.testing import CapturingLogger

from dermabatch import audit
from dermabatch.audit import Actor, ActorKind, BacklogWatch, chainer, checkpoints
from dermabatch.audit.chainer import BATCH_EVENTS
from dermabatch.embedded.host import wait_until
from dermabatch.errors import ObjectStoreUnavailable
from dermabatch.objects import MemoryObjectStore

WRITERS, EVENTS_EACH = 16, 60


class ChangeOfMind(Exception):
    """Of a writer, in the middle of its transaction."""


class StorageThatComesBack(MemoryObjectStore):
    """Refuses the first writes."""

    refusals = 2

    def put(self, key, data, **options):
        if self.refusals:
            self.refusals -= 1
            raise ObjectStoreUnavailable("not yet")
        super().put(key, data, **options)


@pytest.fixture
def running():
    """Runs a chainer as the scheduler does, and stops it after the test."""
    stop = threading.Event()
    threads = []

    def run(chainer):
        threads.append(threading.Thread(target=chainer.run, args=(stop,)))
        threads[-1].start()

    yield run
    stop.set()
    for thread in threads:
        thread.join()


def numbers(trail):
    return [event.seq for event in trail.events()]


def look(trail, watch):
    with trail.database.sessions("web").begin() as session:
        return watch.look(session)


def test_events_are_chained_in_the_order_they_were_written(trail):
    trail.write(3)
    assert trail.chainer.run_once() == 3
    assert [event.fields[9] for event in trail.events()] == ["1", "2", "3"]
    assert numbers(trail) == [1, 2, 3]


def test_nothing_waits_and_nothing_is_chained_twice(trail):
    trail.write(3)
    trail.chainer.run_once()
    assert trail.chainer.run_once() == 0
    assert look(trail, BacklogWatch()) == audit.Backlog(waiting=0, late=0)


def test_more_than_one_round_is_drained(trail):
    trail.write(BATCH_EVENTS + 1)
    assert trail.chainer.run_once() == BATCH_EVENTS + 1
    assert trail.verify().events == BATCH_EVENTS + 1


def test_an_event_stands_exactly_when_its_deed_does(trail):
    with trail.database.sessions("web").begin() as session:
        audit.append(session, trail.view_of(1))
        session.rollback()
    assert trail.chainer.run_once() == 0


def test_a_hostile_header_does_not_lose_the_event(trail):
    nasty = Actor(None, ActorKind.ANONYMOUS, "\x00\ud800\\", request_id="\udfff" * 3)
    trail.write(actor=nasty, object_id="\x00", details={"\x00": "\ud800"})
    trail.grow()
    assert trail.events()[0].fields[5] == "\\x00\\ud800\\"
    assert trail.verify().ok


def test_many_writers_with_rollbacks_leave_no_gap_and_no_fork(trail, running):
    running(trail.chainer)
    running(trail.new_chainer())
    written = [0] * WRITERS

    def write(writer):
        chance = Random(writer)
        for number in range(EVENTS_EACH):
            try:
                with trail.database.sessions("web").begin() as session:
                    audit.append(session, trail.view_of(number, object_type=f"of writer {writer}"))
                    if chance.random() < 0.1:
                        raise ChangeOfMind
                written[writer] += 1
            except ChangeOfMind:
                pass

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, range(WRITERS)))

    assert 0 < sum(written) < WRITERS * EVENTS_EACH
    assert wait_until(lambda: len(trail.events()) == sum(written), seconds=30)
    found = trail.verify()
    assert (found.ok, found.events) == (True, sum(written))
    assert numbers(trail) == list(range(1, sum(written) + 1))


def test_a_writer_stopped_in_mid_transaction_holds_nobody_up_and_raises_no_alarm(trail):
    watch = BacklogWatch(late_seconds=0)
    with trail.database.sessions("web").begin() as stopped:
        audit.append(stopped, trail.view_of(1))
        trail.write(5)
        assert trail.chainer.run_once() == 5
        assert look(trail, watch).late == 0
    assert look(trail, watch) == audit.Backlog(waiting=1, late=0)
    assert trail.chainer.run_once() == 1
    assert trail.verify().events == 6


def test_an_event_that_was_there_at_an_earlier_look_is_late(trail):
    watch = BacklogWatch(late_seconds=0)
    trail.write(2)
    assert look(trail, watch) == audit.Backlog(waiting=2, late=0)
    trail.write(1)
    assert look(trail, watch) == audit.Backlog(waiting=3, late=2)


def test_nothing_is_late_before_its_time(trail):
    watch = BacklogWatch(late_seconds=3600)
    trail.write()
    look(trail, watch)
    assert look(trail, watch).late == 0


def test_an_alarm_is_raised_while_events_are_not_chained(trail, running, monkeypatch):
    log = CapturingLogger()
    monkeypatch.setattr(chainer, "_log", log)
    trail.write(2)
    with trail.database.sessions("chainer").begin() as stuck:
        stuck.execute(sa.select(sa.func.pg_advisory_xact_lock(chainer.CHAINER_LOCK)))
        running(trail.new_chainer(late_seconds=0.1))
        assert wait_until(lambda: log.calls, seconds=30)
    alarm = log.calls[0]
    assert (alarm.args, alarm.kwargs) == (("audit.events_not_chained",), {"late": 2, "waiting": 2})
    assert wait_until(lambda: len(trail.events()) == 2, seconds=30)


def test_while_one_chainer_works_another_leaves_the_events_to_it(trail):
    trail.write(3)
    with trail.database.sessions("chainer").begin() as first:
        first.execute(sa.select(sa.func.pg_advisory_xact_lock(chainer.CHAINER_LOCK)))
        assert trail.new_chainer().run_once() == 0
    assert trail.new_chainer().run_once() == 3


def test_a_chainer_that_dies_in_mid_work_leaves_everything_waiting(trail):
    trail.write(3)
    with trail.owner_with_the_walls_down() as session:
        session.execute(sa.text("ALTER TABLE audit_events ADD CONSTRAINT cut CHECK (seq < 3)"))
    with pytest.raises(sa.exc.IntegrityError):
        trail.chainer.run_once()
    assert trail.events() == []
    trail.tamper("ALTER TABLE audit_events DROP CONSTRAINT cut")
    assert trail.chainer.run_once() == 3


def test_the_chain_is_signed_only_when_it_has_grown(trail):
    assert trail.chainer.signer.sign() is None
    signed = trail.grow(3)
    assert signed.link.seq == 3
    assert trail.chainer.signer.sign() is None
    assert list(checkpoints.stored_seqs(trail.store, 1)) == [3]


def test_a_signer_that_lost_the_answer_of_the_storage_takes_up_its_own_checkpoint(trail):
    first = trail.grow(3)
    trail.tamper("DELETE FROM audit_checkpoints")
    trail.store.delete(checkpoints.object_key(1, 3))
    again = trail.new_chainer().signer.sign()
    assert again.link == first.link
    assert trail.new_chainer().signer.sign() is None


def test_two_signers_at_the_same_end_make_one_checkpoint(trail):
    trail.write(3)
    trail.chainer.run_once()
    with ThreadPoolExecutor(4) as pool:
        signed = list(pool.map(lambda _: trail.new_chainer().signer.sign(), range(4)))
    assert {checkpoint.link.seq for checkpoint in signed if checkpoint} == {3}
    assert list(checkpoints.stored_seqs(trail.store, 1)) == [3]


def test_the_scheduler_chains_within_a_second_and_signs_by_the_clock(trail, running):
    running(trail.new_chainer(checkpoint_seconds=0.5))
    trail.write(3)
    started = time.monotonic()
    assert wait_until(lambda: len(trail.events()) == 3, seconds=30)
    assert time.monotonic() - started < 5
    assert wait_until(lambda: trail.verify().signed_through == 3, seconds=30)


def test_a_storage_that_is_down_stops_no_chaining_and_is_signed_to_when_it_returns(trail, running):
    trail.store = StorageThatComesBack()
    running(trail.new_chainer(checkpoint_seconds=0.2))
    trail.write(3)
    assert wait_until(lambda: len(trail.events()) == 3, seconds=30)
    assert wait_until(lambda: trail.verify().signed_through == 3, seconds=30)
