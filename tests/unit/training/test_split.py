"""The split: no lesion on two sides, every class on each, the same for the same seed."""

import numpy as np
import pytest

from dermabatch.taxonomy import CLASSES
from training.data import labels_of, read_samples
from training.errors import UnusableData
from training.split import SHARES, Side, split_by_lesion, split_table


@pytest.fixture(scope="module")
def samples(dataset):
    return read_samples(dataset)


def test_no_lesion_stands_on_two_sides(samples):
    split = split_by_lesion(samples, seed=1)

    lesions = [{samples[i].lesion_id for i in positions} for positions in split.values()]
    assert sum(len(side) for side in lesions) == len(set.union(*lesions))


def test_every_image_stands_on_one_side(samples):
    positions = np.concatenate(list(split_by_lesion(samples, seed=1).values()))

    assert sorted(positions) == list(range(len(samples)))


def test_every_class_stands_on_every_side_in_its_share(samples):
    split = split_by_lesion(samples, seed=1)

    for side, positions in split.items():
        lesions = {samples[i].lesion_id: samples[i].label for i in positions}
        counts = np.bincount(list(lesions.values()), minlength=len(CLASSES))
        assert counts == pytest.approx(12 * SHARES[side], abs=1)
        assert set(labels_of(samples)[positions]) == set(range(len(CLASSES)))


def test_the_same_seed_gives_the_same_split_and_another_another(samples):
    first, again, other = (split_by_lesion(samples, seed)[Side.TEST].tolist() for seed in (1, 1, 2))

    assert first == again
    assert first != other


def test_a_class_too_small_for_every_side_is_named(samples):
    few = [sample for sample in samples if CLASSES[sample.label] != "df" or sample.lesion_id < "HAM_00020"]

    with pytest.raises(UnusableData, match="The class df has 3 lesions: too few"):
        split_by_lesion(few, seed=1)


def test_the_split_is_a_table_with_a_line_for_each_image(samples):
    split = split_by_lesion(samples, seed=1)

    lines = split_table(samples, split).splitlines()

    assert lines[0] == "image_id,side"
    assert [line.split(",")[0] for line in lines[1:]] == [sample.image_id for sample in samples]
    assert sum(line.endswith(",test") for line in lines) == len(split[Side.TEST])
