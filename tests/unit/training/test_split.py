"""The split: no lesion on two sides, every class on each, the same for the same seed."""

from pathlib import Path

import numpy as np
import pytest

from dermabatch.taxonomy import CLASSES
from training.data import Sample, labels_of, read_samples
from training.errors import UnusableData
from training.near_duplicates import Twins
from training.split import SHARES, Side, leave_out_near_duplicates, split_by_lesion, split_digest, split_table


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

    for side in SHARES:
        positions = split[side]
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


@pytest.fixture(scope="module")
def many():
    """Forty lesions of each class, each with two images that nobody looks at."""
    return [
        Sample(f"ISIC_{label}{number:02}{copy}", f"HAM_{label}{number:02}", label, Path("nowhere.jpg"))
        for label in range(len(CLASSES))
        for number in range(40)
        for copy in range(2)
    ]


@pytest.fixture(scope="module")
def split(many):
    return split_by_lesion(many, seed=1)


def test_a_test_lesion_that_training_knows_is_left_out_with_all_its_images(many, split):
    known = split[Side.TEST][:2].tolist()  # both images of a lesion

    audited = leave_out_near_duplicates(many, split, [Twins(split[Side.TRAIN][5], known[1], 0.9)])

    assert audited[Side.LEFT_OUT].tolist() == known
    assert audited[Side.TEST].tolist() == [position for position in split[Side.TEST] if position not in known]
    for side in (Side.TRAIN, Side.VALIDATION, Side.CALIBRATION):
        assert audited[side].tolist() == split[side].tolist()


@pytest.mark.parametrize("earlier", [Side.VALIDATION, Side.CALIBRATION])
def test_between_held_out_sides_the_later_one_gives_way(many, split, earlier):
    twins = Twins(split[Side.TEST][0], split[earlier][0], 0.9)

    audited = leave_out_near_duplicates(many, split, [twins])

    assert split[Side.TEST][0] in audited[Side.LEFT_OUT]
    assert audited[earlier].tolist() == split[earlier].tolist()


def test_near_duplicates_on_one_side_stay_there(many, split):
    audited = leave_out_near_duplicates(many, split, [Twins(*split[Side.TEST][[0, 9]], 0.9)])

    assert split_table(many, audited) == split_table(many, split)
    assert audited[Side.LEFT_OUT].size == 0


def test_a_chain_of_near_duplicates_counts_as_one(many, split):
    far, near, train = split[Side.TEST][0], split[Side.CALIBRATION][0], split[Side.TRAIN][0]

    audited = leave_out_near_duplicates(many, split, [Twins(far, near, 0.5), Twins(near, train, 0.5)])

    assert {far, near} <= set(audited[Side.LEFT_OUT].tolist())
    assert train in audited[Side.TRAIN]


def test_a_class_that_would_vanish_from_a_side_is_named(many, split):
    label = CLASSES.index("vasc")
    train, *_ = (position for position in split[Side.TRAIN] if many[position].label == label)
    found = [Twins(train, position, 0.9) for position in split[Side.TEST] if many[position].label == label]

    with pytest.raises(UnusableData, match="The side test has no image of vasc but near-duplicates"):
        leave_out_near_duplicates(many, split, found)


def test_who_is_left_out_shows_in_the_table_and_its_digest(many, split):
    audited = leave_out_near_duplicates(many, split, [Twins(split[Side.TRAIN][0], split[Side.TEST][0], 0.9)])
    table = split_table(many, audited)

    assert f"{many[split[Side.TEST][0]].image_id},left_out" in table.splitlines()
    assert split_digest(table) != split_digest(split_table(many, split))
