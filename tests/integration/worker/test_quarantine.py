import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pytest

from dermabatch import ledger
from dermabatch.artifacts import read_artifact
from dermabatch.embedded.host import wait_until
from dermabatch.identifiers import new_id
from dermabatch.imaging.synthetic import lesion_jpeg
from dermabatch.out_of_distribution import read_detector
from dermabatch.shipped import SHIPPED_MODEL
from worker import quarantine as quarantine_module
from worker.assessment import Finding
from worker.opening import Picture
from worker.quarantine import Quarantine
from worker.serving import ServedModel


@dataclass
class Stops:
    """What the rows would say."""

    of: dict[UUID, int] = field(default_factory=dict)

    def __call__(self, image_id):
        self.of[image_id] = self.of.get(image_id, 0) + 1
        return self.of[image_id]


@pytest.fixture(scope="module")
def model(shipped_engine):
    artifact = read_artifact(SHIPPED_MODEL.folder, expected_digest=SHIPPED_MODEL.digest, verify_key=None)
    return ServedModel(artifact, shipped_engine, read_detector(artifact), "openvino")


@pytest.fixture
def stops():
    return Stops()


@pytest.fixture
def quarantine(model, stops):
    with Quarantine(model, on_stop=stops) as running:
        yield running


def test_a_sound_image_is_classified(quarantine, stops):
    finding = quarantine.examine(Picture(new_id(), lesion_jpeg(1)))
    assert isinstance(finding, Finding)
    assert sum(finding.assessment.probabilities) == pytest.approx(1)
    assert stops.of == {}


def test_a_file_that_does_not_decode_is_rejected_with_a_reason(quarantine):
    whole = lesion_jpeg(1)
    answer = quarantine.examine(Picture(new_id(), whole[:200] + b"\xff\xd9"))
    assert isinstance(answer, ledger.Refused)
    assert answer.reason


def test_an_image_whose_process_died_once_gets_another_one(quarantine, stops):
    quarantine.examine(Picture(new_id(), lesion_jpeg(1)))
    quarantine._child._process.kill()
    quarantine._child._process.join()
    image_id = new_id()
    assert isinstance(quarantine.examine(Picture(image_id, lesion_jpeg(2))), Finding)
    assert stops.of == {image_id: 1}


def test_an_image_that_stops_its_process_three_times_fails_and_its_neighbour_does_not(
    quarantine, stops, monkeypatch
):
    poison = new_id()
    with monkeypatch.context() as patch:
        # No answer in time, three times over: what a hanging decoder looks like from here.
        patch.setattr(quarantine_module, "_IMAGE_SECONDS", 0)
        answer = quarantine.examine(Picture(poison, lesion_jpeg(1)))
    assert isinstance(answer, ledger.Failed)
    assert "3 times" in answer.reason
    assert stops.of == {poison: 3}
    assert isinstance(quarantine.examine(Picture(new_id(), lesion_jpeg(2))), Finding)


def test_an_image_that_failed_before_is_not_touched_again(quarantine, stops):
    answer = quarantine.examine(Picture(new_id(), lesion_jpeg(1), stops=ledger.MAX_STOPS))
    assert isinstance(answer, ledger.Failed)
    assert quarantine._child is None


def test_a_stop_sent_to_every_process_of_the_worker_is_not_counted_against_the_image(quarantine, stops):
    quarantine.examine(Picture(new_id(), lesion_jpeg(1)))
    child = quarantine._child._process.pid
    for asked_to_stop in (signal.SIGTERM, signal.SIGINT):
        os.kill(child, asked_to_stop)
    assert isinstance(quarantine.examine(Picture(new_id(), lesion_jpeg(2))), Finding)
    assert stops.of == {}
    assert quarantine._child._process.pid == child


def test_a_killed_worker_leaves_no_process_behind():
    """Also not one whose engine hangs, and which therefore never sees that the pipe was closed."""
    worker = subprocess.Popen(
        [sys.executable, "-c", _WORKER_WITH_A_QUARANTINE], stdout=subprocess.PIPE, text=True
    )
    child = int(worker.stdout.readline())
    descendants = [child, *_children_of(child)]
    assert len(descendants) > 1  # the decoders' parent
    os.kill(child, signal.SIGSTOP)
    worker.kill()
    worker.wait()
    worker.stdout.close()
    assert wait_until(lambda: not any(map(_runs, descendants)), seconds=10)


_WORKER_WITH_A_QUARANTINE = """
import time
from dermabatch.artifacts import read_artifact
from dermabatch.identifiers import new_id
from dermabatch.imaging.synthetic import lesion_jpeg
from dermabatch.shipped import SHIPPED_MODEL
from worker.opening import Picture
from worker.quarantine import Quarantine
from worker.serving import ServedModel

artifact = read_artifact(SHIPPED_MODEL.folder, expected_digest=SHIPPED_MODEL.digest, verify_key=None)
with Quarantine(ServedModel(artifact, None, None, "openvino"), on_stop=lambda image_id: 3) as quarantine:
    quarantine.examine(Picture(new_id(), lesion_jpeg(1)))
    print(quarantine._child._process.pid, flush=True)
    time.sleep(600)
"""


def _children_of(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *_children_of(child)]
    return found


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
