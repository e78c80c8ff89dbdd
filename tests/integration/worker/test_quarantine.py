from dataclasses import dataclass, field
from uuid import UUID

import pytest

from dermabatch import ledger
from dermabatch.artifacts import read_artifact
from dermabatch.engines import load_engine
from dermabatch.identifiers import new_id
from dermabatch.imaging.synthetic import lesion_jpeg
from dermabatch.shipped import SHIPPED_MODEL
from worker import quarantine as quarantine_module
from worker.assessment import Finding
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
def model():
    artifact = read_artifact(SHIPPED_MODEL.folder, expected_digest=SHIPPED_MODEL.digest, verify_key=None)
    engine = load_engine(artifact.folder, artifact.manifest, "openvino")
    yield ServedModel(artifact, engine, "openvino")
    engine.close()


@pytest.fixture
def stops():
    return Stops()


@pytest.fixture
def quarantine(model, stops):
    with Quarantine(model, on_stop=stops) as running:
        yield running


def test_a_sound_image_is_classified(quarantine, stops):
    finding = quarantine.examine(new_id(), lesion_jpeg(1), 1, stops=0)
    assert isinstance(finding, Finding)
    assert sum(finding.assessment.probabilities) == pytest.approx(1)
    assert stops.of == {}


def test_a_file_that_does_not_decode_is_rejected_with_a_reason(quarantine):
    whole = lesion_jpeg(1)
    answer = quarantine.examine(new_id(), whole[:200] + b"\xff\xd9", 1, stops=0)
    assert isinstance(answer, ledger.Refused)
    assert answer.reason


def test_an_image_whose_process_died_once_gets_another_one(quarantine, stops):
    quarantine.examine(new_id(), lesion_jpeg(1), 1, stops=0)
    quarantine._child._process.kill()
    quarantine._child._process.join()
    image_id = new_id()
    assert isinstance(quarantine.examine(image_id, lesion_jpeg(2), 1, stops=0), Finding)
    assert stops.of == {image_id: 1}


def test_an_image_that_stops_its_process_three_times_fails_and_its_neighbour_does_not(
    quarantine, stops, monkeypatch
):
    poison = new_id()
    with monkeypatch.context() as patch:
        # No answer in time, three times over: what a hanging decoder looks like from here.
        patch.setattr(quarantine_module, "_IMAGE_SECONDS", 0)
        answer = quarantine.examine(poison, lesion_jpeg(1), 1, stops=0)
    assert isinstance(answer, ledger.Failed)
    assert "3 times" in answer.reason
    assert stops.of == {poison: 3}
    assert isinstance(quarantine.examine(new_id(), lesion_jpeg(2), 1, stops=0), Finding)


def test_an_image_that_failed_before_is_not_touched_again(quarantine, stops):
    answer = quarantine.examine(new_id(), lesion_jpeg(1), 1, stops=ledger.MAX_STOPS)
    assert isinstance(answer, ledger.Failed)
    assert quarantine._child is None
