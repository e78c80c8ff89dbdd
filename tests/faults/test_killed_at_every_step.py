"""SIGKILL at every step of an upload, of a chunk and of the scheduler's round."""

from uuid import uuid4

import pytest

from dermabatch.errors import ServiceUnavailable
from tests.faults import launcher
from tests.faults.proof import give_up_silent_uploads
from tests.live import small_lesions

IMAGES = 8
PACK_IMAGES = "3"
"""Three packs an upload, so that it breaks off with some of them stored."""
UPLOAD = small_lesions(IMAGES, first_seed=70_000)


@pytest.fixture
def one_pack_an_upload(striker):
    """So that a killed worker held one chunk: it fetches ahead, and would hold others at the later points."""
    striker.start("portal")


@pytest.mark.parametrize("point", launcher.PORTAL)
def test_a_portal_killed_in_an_upload_takes_the_same_upload_again(live, striker, point):
    striker.start("portal", DERMABATCH_PACK_IMAGES=PACK_IMAGES)
    key = str(uuid4())
    striker.arm(point)
    with pytest.raises(ServiceUnavailable):
        live.hand_in(UPLOAD, key=key)
    striker.wait_until_struck(point)
    striker.wait_for_portal()
    give_up_silent_uploads(live)
    batch = live.hand_in(UPLOAD, key=key)
    assert live.hand_in(UPLOAD, key=key) == batch
    assert live.answered(batch) == IMAGES


@pytest.mark.parametrize("point", launcher.WORKER)
def test_a_worker_killed_in_a_chunk_leaves_it_to_the_next(live, striker, one_pack_an_upload, point):
    striker.start("worker")
    striker.arm(point)
    batch = live.client.submit(UPLOAD)
    striker.wait_until_struck(point)
    assert live.answered(batch) == IMAGES
    # What was committed before the kill is done and comes to nobody a second time.
    assert live.lapses(batch) == (0 if point == "after the commit of the results" else 1)


@pytest.mark.parametrize("point", launcher.SCHEDULER)
def test_a_scheduler_killed_in_its_round_does_it_again(live, striker, one_pack_an_upload, point):
    """A chunk has lapsed and events wait, so that there is something to do at every point."""
    striker.start("scheduler")
    striker.start("worker")
    striker.arm("claimed")
    batch = live.client.submit(UPLOAD)
    striker.wait_until_struck("claimed")
    striker.arm(point)
    striker.wait_until_struck(point)
    assert live.answered(batch) == IMAGES
    assert live.lapses(batch) == 1
