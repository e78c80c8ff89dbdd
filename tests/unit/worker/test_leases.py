from contextlib import contextmanager
from threading import Event
from uuid import UUID

import pytest

from dermabatch import ledger
from dermabatch.lifecycle import Queue
from worker.leases import LeaseKeeper

CLAIM = ledger.Claim(
    chunk_id=UUID(int=1),
    lease_no=1,
    batch_id=UUID(int=2),
    department_id=UUID(int=3),
    queue=Queue.INTERACTIVE,
    isolated=False,
    model_digest="0" * 64,
    rescoring=False,
    object_key="packs/1",
    pack_sha256="0" * 64,
    images=(),
)


class Tries:
    """Sessions that note every try to renew, and then do what the test says."""

    def __init__(self, then):
        self.count = 0
        self.twice = Event()
        self._then = then

    @contextmanager
    def begin(self):
        self.count += 1
        if self.count == 2:
            self.twice.set()
        self._then()
        yield


@pytest.fixture
def overdue():
    return Event()


@pytest.fixture
def keeper(overdue):
    def _keeper(sessions, *, deadline_seconds):
        made = LeaseKeeper(
            sessions,
            lease_seconds=1,
            renew_seconds=0.01,
            deadline_seconds=deadline_seconds,
            on_overdue=lambda _: overdue.set(),
        )
        made.start()
        return made

    return _keeper


def test_whatever_fails_in_one_renewal_the_next_is_tried(keeper):
    def fail():
        raise RuntimeError("nobody has thought of this")

    tries = Tries(fail)
    leases = keeper(tries, deadline_seconds=60)
    with leases.keep(CLAIM):
        assert tries.twice.wait(10)
    leases.stop()


def test_a_hung_chunk_is_noticed_although_the_database_hangs(keeper, overdue):
    returns = Event()
    tries = Tries(lambda: returns.wait(10))
    leases = keeper(tries, deadline_seconds=0.05)
    with leases.keep(CLAIM):
        assert overdue.wait(5)
    returns.set()
    leases.stop()


def test_a_chunk_that_makes_progress_does_not_hang(keeper, overdue):
    leases = keeper(Tries(lambda: None), deadline_seconds=2)
    with leases.keep(CLAIM):
        for _ in range(25):
            leases.note_progress(CLAIM)
            assert not overdue.wait(0.1)
    leases.stop()
