"""Workers that stand still while others finish their work, and workers that live in another hour."""

import os
import signal

import pytest

from tests.faults import launcher
from tests.live import small_lesions

IMAGES = 8
IN_MID_TRANSACTION = "before the commit of the results"


def upload(first_seed):
    return small_lesions(IMAGES, first_seed=first_seed)


@pytest.fixture
def overtaken(live, striker):
    """Lets a worker stand still at a point until a rival has finished its chunk, then lets it go on."""

    def overtake(point):
        striker.start("worker")
        striker.arm(point, launcher.stop)
        batch = live.client.submit(upload(80_000))
        stopped = striker.wait_until_struck(point)
        striker.start("worker", name="rival")
        assert live.answered(batch) == IMAGES
        striker.end("rival")
        before = live.predictions(batch)
        os.kill(stopped, signal.SIGCONT)
        # Nobody else can have done this one: it went through its late write and works on.
        assert live.answered(live.client.submit(upload(81_000))) == IMAGES
        assert live.installation.services.pids["worker"] == stopped
        assert live.predictions(batch) == before
        return batch

    return overtake


@pytest.mark.parametrize("point", ["fetched", "classified", "derived object in the storage"])
def test_a_late_write_changes_nothing_and_is_counted(live, striker, overtaken, point):
    batch = overtaken(point)
    striker.wait_until(lambda: live.late_writes(batch) == 1, "the late write is counted")
    assert live.lapses(batch) == 1


def test_a_worker_stopped_in_mid_transaction_loses_its_locks_and_its_chunk(live, overtaken):
    """The database ends its session after a minute. Its commit then fails, which is no late write."""
    batch = overtaken(IN_MID_TRANSACTION)
    assert (live.lapses(batch), live.late_writes(batch)) == (1, 0)


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_worker_whose_clock_is_two_hours_off_works_as_any_other(live, striker, hours):
    striker.start("worker", **{launcher.CLOCK: str(hours * 3600)})
    batch = live.client.submit(upload(82_000))
    assert live.answered(batch) == IMAGES
    assert live.lapses(batch) == 0


@pytest.mark.parametrize("hours", [-2, 2])
def test_the_lease_of_a_worker_whose_clock_is_two_hours_off_ends_by_the_clock_of_the_database(
    live, striker, hours
):
    striker.start("worker", **{launcher.CLOCK: str(hours * 3600)})
    striker.arm("classified")
    batch = live.client.submit(upload(83_000))
    striker.wait_until_struck("classified")
    assert live.answered(batch) == IMAGES
    assert live.lapses(batch) == 1
