"""Every fault is followed by the same proof."""

import pytest

from tests.faults.proof import assert_nothing_lost_or_doubled
from tests.faults.striking import Striker


@pytest.fixture(autouse=True)
def proof(request):
    """After each test on the running installation nothing is lost, doubled or left behind."""
    live = request.getfixturevalue("live") if "live" in request.fixturenames else None
    yield
    if live is not None:
        assert_nothing_lost_or_doubled(live)


@pytest.fixture(scope="module")
def striker(live, tmp_path_factory):
    """Programs that were started for one test serve those of the same file that want the same ones."""
    striker = Striker(live, tmp_path_factory.mktemp("armed"))
    yield striker
    striker.put_back()


@pytest.fixture
def without_worker(live):
    """No worker runs; the test starts one."""
    live.installation.services.kill("worker")
    yield live
    if "worker" not in live.installation.services.pids:
        live.installation.start("worker")
