"""The precision gate: what is counted, and what an artifact carries afterwards."""

from contextlib import closing

import numpy as np
import pytest

from dermabatch.artifacts import read_artifact
from dermabatch.engines import load_engine
from dermabatch.errors import ArtifactRefused
from dermabatch.manifest import OPENVINO_INT8_BIN, OPENVINO_INT8_XML
from dermabatch.taxonomy import CLASSES
from tests.colour_model import SIZE, fitted_weights, write_colour_model
from tests.situations import tiny_manifest
from training.data import read_image, read_samples
from training.errors import UnusableData
from training.precision import PrecisionImages, compared, read_precision_images, with_precisions
from training.split import split_by_lesion, split_table

INT8_FILES = {OPENVINO_INT8_XML, OPENVINO_INT8_BIN}
MEL, NV = CLASSES.index("mel"), CLASSES.index("nv")


@pytest.fixture(scope="module")
def samples(dataset):
    return read_samples(dataset)


@pytest.fixture(scope="module")
def images(samples):
    pixels = np.stack([read_image(sample.path, SIZE) for sample in samples])
    return PrecisionImages(pixels[:40], pixels, np.array([sample.label for sample in samples]))


@pytest.fixture(scope="module")
def measured(samples, images, tmp_path_factory):
    """A model whose answers are so certain that no rounding moves them."""
    folder = tmp_path_factory.mktemp("certain") / "model"
    weights = fitted_weights(samples)
    artifact = write_colour_model(folder, 5 * weights, name="certain", split_digest="0" * 64)
    return artifact, with_precisions(artifact, images, lambda step: None)


def scores_of(*labels):
    return 10 * np.eye(len(CLASSES), dtype=np.float32)[list(labels)]


def test_agreement_is_the_share_of_images_that_keep_their_class():
    truth = np.array([NV, NV, NV, NV])
    found = compared(scores_of(NV, NV, NV, MEL), scores_of(NV, NV, NV, NV), truth, tiny_manifest())
    assert found == {"images": 4, "agreement": 0.75, "melanomas_lost": 0}


def test_a_melanoma_is_lost_where_triage_no_longer_flags_it():
    truth = np.array([MEL, MEL, NV])
    full, reduced = scores_of(MEL, NV, MEL), scores_of(NV, NV, NV)
    assert compared(full, reduced, truth, tiny_manifest())["melanomas_lost"] == 1


def test_a_melanoma_that_another_malignant_class_still_flags_is_not_lost():
    truth = np.array([MEL])
    moved = scores_of(CLASSES.index("bcc"))
    assert compared(scores_of(MEL), moved, truth, tiny_manifest())["melanomas_lost"] == 0


def test_the_manifest_says_what_came_of_each_precision(measured, images):
    before, after = measured
    assert set(after.manifest.precisions) == {"bf16", "int8"}
    assert all(one.images == len(images.truth) for one in after.manifest.precisions.values())
    assert after.digest != before.digest
    assert read_artifact(after.folder, expected_digest=after.digest, verify_key=None) == after


def test_a_precision_that_passed_is_served_and_proved_by_the_golden_images(measured):
    _, after = measured
    assert after.manifest.precisions["int8"].passes
    assert set(after.manifest.files) >= INT8_FILES
    with closing(load_engine(after.folder, after.manifest, "openvino", "int8")) as engine:
        assert engine.name.endswith("int8")


def test_an_engine_in_another_precision_still_has_to_come_close(measured, tmp_path):
    _, after = measured
    stricter = {
        name: one.model_copy(update={"golden_tolerance": 1e-12})
        for name, one in after.manifest.precisions.items()
    }
    manifest = after.manifest.model_copy(update={"precisions": stricter})
    with pytest.raises(ArtifactRefused, match="golden probabilities"):
        load_engine(after.folder, manifest, "openvino", "int8")


def test_files_in_int8_that_may_not_serve_are_left_out(samples, images, tmp_path):
    shared = np.random.default_rng(1).normal(0, 500, (49, 1)).astype(np.float32)
    vague = (
        fitted_weights(samples) + shared
    )  # what all classes share leaves few steps of an integer for the rest
    artifact = write_colour_model(tmp_path / "model", vague, name="vague", split_digest="0" * 64)
    after = with_precisions(artifact, images, lambda step: None)
    assert not after.manifest.precisions["int8"].passes
    assert not INT8_FILES & after.manifest.files.keys()
    assert not (after.folder / OPENVINO_INT8_XML).exists()
    with closing(load_engine(after.folder, after.manifest, "openvino", "int8")) as engine:
        assert engine.name.endswith("fp32")


def test_the_test_side_stays_untouched(dataset, samples, tmp_path):
    path = tmp_path / "split.csv"
    split = split_by_lesion(samples, 1)
    path.write_text(split_table(samples, split))
    found = read_precision_images(dataset, path, SIZE)
    assert len(found.held_out) == len(split["validation"]) + len(split["calibration"])
    assert len(found.training) == min(300, len(split["train"]))


def test_a_split_without_held_out_images_is_refused(dataset, samples, tmp_path):
    path = tmp_path / "split.csv"
    path.write_text("image_id,side\n" + "".join(f"{sample.image_id},train\n" for sample in samples))
    with pytest.raises(UnusableData, match="validation and calibration"):
        read_precision_images(dataset, path, SIZE)
