"""The painted lesions of the demo, as the shipped model sees them."""

from contextlib import closing

import numpy as np
import pytest

from dermabatch.engines import EngineOutput, load_engine
from dermabatch.imaging.lesion_painting import KINDS
from dermabatch.imaging.preprocess import preprocess
from dermabatch.imaging.synthetic import lesion_image
from dermabatch.out_of_distribution import read_detector
from dermabatch.shipped import shipped_or_named

OF_EACH_KIND = 6


@pytest.fixture(scope="module")
def artifact():
    return shipped_or_named(None)


@pytest.fixture(scope="module")
def output(artifact) -> EngineOutput:
    size = artifact.manifest.input_size
    lesions = [lesion_image(seed, kind=kind) for kind in KINDS for seed in range(OF_EACH_KIND)]
    with closing(load_engine(artifact.folder, artifact.manifest, "openvino")) as engine:
        return engine.run(np.stack([preprocess(lesion, size) for lesion in lesions]))


def test_the_shipped_model_takes_painted_lesions_for_lesions(artifact, output):
    detector = read_detector(artifact)
    if detector is None:
        pytest.skip("the shipped model is of format 1")
    strange = detector.strangeness(output.embedding) > artifact.manifest.out_of_distribution.threshold
    assert strange.mean() <= 0.1


def test_the_shipped_model_finds_most_classes_among_painted_lesions(output):
    assert len(set(output.logits.argmax(axis=1))) >= 5
