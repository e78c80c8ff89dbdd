"""S3 that answers with errors, breaks off, hangs or is full, seen from the portal and from a worker."""

from uuid import uuid4

import pytest

from dermabatch.errors import ServiceUnavailable
from tests.faults.tcp_proxy import (
    StorageProxy,
    answer,
    cut_the_answer,
    cut_the_body,
    cut_the_request,
    hang,
    reset,
)
from tests.live import small_lesions

IMAGES = 8
UPLOAD = small_lesions(IMAGES, first_seed=100_000)

PASSING = [answer(500, "InternalError"), answer(503, "SlowDown"), reset, cut_the_request, cut_the_answer]
FULL = answer(507, "InsufficientStorage")
LASTING = [*PASSING, FULL, hang]


def every(faults):
    return pytest.mark.parametrize("fault", faults, ids=lambda fault: fault.__name__)


@pytest.fixture(scope="module")
def storage(live):
    port = int(live.installation.services.s3_endpoint.rpartition(":")[2])
    with StorageProxy(port) as proxy:
        yield proxy


@every(LASTING)
def test_an_upload_that_the_storage_does_not_take_is_not_accepted_and_can_be_repeated(
    live, striker, storage, fault
):
    striker.start("portal", DERMABATCH_S3_ENDPOINT=storage.url)
    key = str(uuid4())
    with storage.failing(fault, "PUT .*/packs/"), pytest.raises(ServiceUnavailable):
        live.hand_in(UPLOAD, key=key)
    assert storage.met.is_set()
    batch = live.hand_in(UPLOAD, key=key)
    assert live.answered(batch) == IMAGES


@every(PASSING)
def test_a_fault_that_passes_is_not_noticed(live, striker, storage, fault):
    striker.start("portal", DERMABATCH_S3_ENDPOINT=storage.url)
    with storage.failing(fault, "PUT .*/packs/", times=1):
        batch = live.hand_in(UPLOAD, key=str(uuid4()))
    assert storage.met.is_set()
    assert live.answered(batch) == IMAGES


@pytest.fixture
def given_back(live, striker, storage):
    """Lets a worker meet a fault until it gives its chunk back, and then no more."""

    def give_back(fault, requests):
        striker.start("worker", DERMABATCH_S3_ENDPOINT=storage.url)
        with storage.failing(fault, requests):
            batch = live.client.submit(UPLOAD)
            striker.wait_until(lambda: live.given_back(batch) == 1, "the worker gives its chunk back")
        assert storage.met.is_set()
        return batch

    return give_back


@every([*LASTING, cut_the_body])
def test_a_worker_that_cannot_read_a_pack_gives_it_back_and_goes_on_by_itself(live, given_back, fault):
    batch = given_back(fault, "GET .*/packs/")
    assert live.answered(batch) == IMAGES
    assert live.lapses(batch) == 0


@every(LASTING)
def test_a_worker_that_cannot_store_its_findings_gives_the_pack_back_and_goes_on_by_itself(
    live, given_back, fault
):
    batch = given_back(fault, "PUT .*/derived/")
    assert live.answered(batch) == IMAGES
    assert live.lapses(batch) == 0
