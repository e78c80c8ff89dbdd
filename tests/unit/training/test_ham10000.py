"""The published data set itself: in `shared/data/ham10000`, or where DERMABATCH_HAM10000 in the environment says."""

import os
from pathlib import Path

import numpy as np
import pytest

from dermabatch.taxonomy import CLASSES
from training.data import labels_of, lesion_frequencies, load_pixels, read_samples
from training.near_duplicates import AUDIT_SIZE
from training.split import SPLIT_SEED, Side, divide, split_by_lesion, split_digest, split_table

ROOT = Path(__file__).parents[3]
FOLDER = Path(os.environ.get("DERMABATCH_HAM10000", ROOT / "shared" / "data" / "ham10000"))

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="HAM10000 is not on this machine")


@pytest.fixture(scope="module")
def samples():
    return read_samples(FOLDER)


def test_its_images_and_lesions_are_those_of_the_publication(samples):
    counts = dict(zip(CLASSES, np.bincount(labels_of(samples)).tolist(), strict=True))

    assert counts == {
        "akiec": 327,
        "bcc": 514,
        "bkl": 1099,
        "df": 115,
        "mel": 1113,
        "nv": 6705,
        "vasc": 142,
    }
    assert len({sample.lesion_id for sample in samples}) == 7470
    assert lesion_frequencies(samples)[CLASSES.index("nv")] == pytest.approx(5403 / 7470)


def test_its_split_has_not_changed_since_the_first_model(samples):
    table = split_table(samples, split_by_lesion(samples, SPLIT_SEED))

    assert split_digest(table) == "63109411dd5ea5b484a3e9eac6f6560cd6bf3e8dc636ea0a20a22482f0297ebb"


@pytest.mark.long
def test_its_lesions_under_two_names_are_found_where_they_would_leak(samples, tmp_path):
    pixels = load_pixels(samples, AUDIT_SIZE, tmp_path, lambda done: None)

    split, found = divide(samples, SPLIT_SEED, pixels)

    left_out = {samples[position].image_id for position in split[Side.LEFT_OUT]}
    assert left_out >= {"ISIC_0025654", "ISIC_0030637", "ISIC_0033176"}
    assert len(left_out) < 10
    # An independent witness: the tables give both images the same class, age and sex.
    for twins in found:
        first, second = samples[twins.first], samples[twins.second]
        assert (first.label, first.age, first.sex) == (second.label, second.age, second.sex)
