"""What a reader sees of pictures that show no lesion, or show one badly: the shipped network, gate and detector."""

import os
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from dermabatch.engines import Engine, load_engine
from dermabatch.imaging.preprocess import preprocess
from dermabatch.imaging.quality import measure
from dermabatch.imaging.synthetic import lesion_image
from dermabatch.manifest import Manifest, OutOfDistribution
from dermabatch.out_of_distribution import Detector, read_detector
from dermabatch.shipped import shipped_or_named
from dermabatch.triage import Assessment, Triage, assess
from tests import unwanted
from training.answers import Answers
from training.data import Sample
from training.out_of_distribution import fit_detector
from training.views import damaged

KNOWN, OTHERS = range(1000, 1120), range(2000, 2030)
UNWANTED = {
    "photographs": unwanted.photographs,
    "drawings": unwanted.drawings,
    "pages": unwanted.pages,
    "x_rays": unwanted.x_rays,
    "blanks": unwanted.blanks,
}


@dataclass(frozen=True)
class Model:
    """What stands between a picture and its reader."""

    engine: Engine
    manifest: Manifest
    detector: Detector

    def squares(self, pictures):
        return np.stack([preprocess(picture, self.engine.input_size) for picture in pictures])

    def assess(self, squares) -> list[Assessment]:
        output = self.engine.run(squares)
        qualities = [measure(square, 600, 450) for square in squares]
        strangeness = self.detector.strangeness(output.embedding)
        return assess(output.logits, self.manifest, qualities, strangeness=strangeness)


@pytest.fixture(scope="module")
def engine():
    artifact = shipped_or_named(None)
    with closing(load_engine(artifact.folder, artifact.manifest, "openvino")) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def taught(engine):
    """The shipped network with a detector that knows painted lesions, of which it keeps all that it has not seen."""

    def answers(seeds):
        squares = np.stack([preprocess(lesion_image(seed), engine.input_size) for seed in seeds])
        output = engine.run(squares)
        samples = [Sample(f"I{seed}", f"L{seed}", 5, Path(), None, None, None) for seed in seeds]
        return Answers(samples, output.logits, output.embedding)

    detector = fit_detector(answers(KNOWN))
    strangest = float(detector.strangeness(answers(OTHERS).embedding).max())
    limit = OutOfDistribution(score="unit-residual", threshold=strangest, kept=0.99, lesions=len(OTHERS))
    manifest = shipped_or_named(None).manifest.model_copy(update={"out_of_distribution": limit})
    return Model(engine, manifest, detector)


@pytest.fixture(scope="module")
def shipped(engine):
    """The shipped model, with the detector that it brings."""
    artifact = shipped_or_named(None)
    return Model(engine, artifact.manifest, read_detector(artifact))


@pytest.fixture(scope="module")
def ham10000():
    """Every twentieth picture of the real data, where they are."""
    folder = os.environ.get("DERMABATCH_HAM10000")
    if not folder:
        pytest.skip("DERMABATCH_HAM10000 names no folder")
    paths = sorted(Path(folder).rglob("*.jpg"))[::20]
    return [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in paths]


def refused(assessments: list[Assessment]) -> int:
    return sum(assessment.triage is Triage.CANNOT_ASSESS for assessment in assessments)


def believed(assessments: list[Assessment]) -> list[str]:
    """Reasons of those that a reader would take for the finding of a lesion; urgent wins, and says its doubt."""
    return [each.reason for each in assessments if "the picture " not in each.reason]


def test_lesions_of_a_kind_that_is_known_are_assessed(taught):
    assessments = taught.assess(taught.squares([lesion_image(seed) for seed in range(3000, 3030)]))
    assert refused(assessments) <= 2


@pytest.mark.parametrize("kind", UNWANTED)
@pytest.mark.parametrize("knows", ["taught", "shipped"])
def test_most_pictures_of_anything_else_cannot_be_assessed(knows, kind, request):
    model = request.getfixturevalue(knows)
    assessments = model.assess(model.squares(UNWANTED[kind]()))
    assert len(believed(assessments)) <= len(assessments) // 4
    assert refused(assessments) >= len(assessments) // 2


def test_the_shipped_model_assesses_the_lesions_that_it_is_for(shipped, ham10000):
    assessments = shipped.assess(shipped.squares(ham10000))
    assert refused(assessments) / len(assessments) < 0.02


@pytest.mark.parametrize("kind", ["blur", "noise", "darker", "brighter", "jpeg", "rotation"])
def test_the_shipped_model_turns_away_more_the_worse_the_pictures_of_lesions_get(shipped, ham10000, kind):
    squares = shipped.squares(ham10000[::5])
    shares = [refused(shipped.assess(damaged(squares, kind, grade))) / len(squares) for grade in range(5)]
    assert shares[0] < 0.08
    assert all(worse >= better - 0.05 for better, worse in pairwise(shares))
