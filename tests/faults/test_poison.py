"""Images that stop their decoders, engines without memory, and deployments in the middle of it all."""

import pytest

from cli.portal_client import Upload
from dermabatch import ledger
from dermabatch.imaging.synthetic import lesion_jpeg
from tests.faults import launcher, painful_operations
from tests.faults.painful_operations import BLOATS, CRASHES, HANGS
from tests.live import small_lesions

IMAGES = 8
DEPLOYMENTS = 10


def poison(width):
    return Upload(f"{width}.jpg", lesion_jpeg(width, width=width, height=120))


@pytest.fixture
def worker_with_weak_decoders(striker):
    striker.start("worker", **{launcher.DECODERS: painful_operations.__name__})


@pytest.mark.parametrize("width", [CRASHES, HANGS])
def test_an_image_that_stops_its_decoder_fails_alone_and_the_batch_says_so(
    live, worker_with_weak_decoders, width
):
    batch = live.client.submit([*small_lesions(IMAGES, first_seed=110_000), poison(width)])
    states = live.wait_for(batch)["states"]
    assert states["failed"] == 1
    assert states["classified"] + states["unassessable"] == IMAGES
    [failed] = [result for result in live.client.results(batch) if result["state"] == "failed"]
    assert failed["file"] == f"{width}.jpg"
    assert str(ledger.MAX_STOPS) in failed["reason"]
    assert live.stops(batch) == [ledger.MAX_STOPS]
    assert live.lapses(batch) == 0


def test_an_image_that_bloats_its_decoder_is_refused_and_its_neighbours_finish(
    live, worker_with_weak_decoders
):
    batch = live.client.submit([*small_lesions(IMAGES, first_seed=110_000), poison(BLOATS)])
    states = live.wait_for(batch)["states"]
    assert states["failed"] + states["rejected"] == 1
    assert states["classified"] + states["unassessable"] == IMAGES


def test_a_failed_image_that_is_tried_again_with_a_better_decoder_is_classified(
    live, striker, worker_with_weak_decoders
):
    batch = live.client.submit([poison(CRASHES)])
    assert live.wait_for(batch)["states"]["failed"] == 1
    striker.start("worker")
    assert live.retry(batch) == 1
    assert live.answered(batch) == 1


def test_an_engine_that_ran_out_of_memory_once_costs_no_image(live, striker):
    striker.start("worker")
    striker.arm("engine runs", launcher.run_out_of_memory)
    batch = live.client.submit(small_lesions(IMAGES, first_seed=111_000))
    striker.wait_until_struck("engine runs")
    assert live.answered(batch) == IMAGES
    assert live.stops(batch) == []
    assert live.lapses(batch) == 1


def test_an_engine_that_is_always_out_of_memory_fails_its_images_until_they_are_tried_again(live, striker):
    striker.start("worker", **{launcher.NO_MEMORY: "yes"})
    batch = live.client.submit(small_lesions(2, first_seed=113_000))
    assert live.wait_for(batch)["states"]["failed"] == 2
    assert live.stops(batch) == [ledger.MAX_STOPS] * 2
    striker.start("worker")
    assert live.retry(batch) == 2
    assert live.answered(batch) == 2


def test_ten_deployments_in_the_middle_of_quarantine_are_blamed_on_no_image(live, striker):
    striker.start("worker")
    striker.arm("claimed")
    batch = live.client.submit(small_lesions(IMAGES, first_seed=112_000))
    striker.wait_until_struck("claimed")
    for _ in range(DEPLOYMENTS):
        striker.arm("image in quarantine")
        striker.wait_until(lambda: live.waiting_chunks() > 0, "the lease lapses")
        live.end_pauses()
        striker.wait_until_struck("image in quarantine")
    striker.wait_until(lambda: live.waiting_chunks() > 0, "the lease lapses")
    live.end_pauses()
    assert live.answered(batch) == IMAGES
    assert live.stops(batch) == []
    assert live.lapses(batch) == DEPLOYMENTS + 1
