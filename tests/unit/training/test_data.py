"""Reading a data set: what is there, and every way in which it can be wrong."""

import csv
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from dermabatch.imaging.operations import decode
from dermabatch.taxonomy import CLASSES
from tests.painted_lesions import write_metadata
from training.data import (
    data_digest,
    inspect_samples,
    labels_of,
    lesion_frequencies,
    load_pixels,
    read_image,
    read_samples,
)
from training.errors import TooLittleSpace, UnusableData


@pytest.fixture
def spoiled(dataset, tmp_path):
    """Copies the data set with its rows changed by a function."""

    def spoil(change):
        folder = tmp_path / "spoiled"
        shutil.copytree(dataset, folder)
        with (folder / "HAM10000_metadata.csv").open(newline="") as stream:
            write_metadata(folder, change(list(csv.DictReader(stream))))
        return folder

    return spoil


def test_every_row_of_the_metadata_becomes_a_sample_with_its_image(dataset):
    samples = read_samples(dataset)

    assert len(samples) == 84 + 28
    assert [sample.image_id for sample in samples] == sorted(sample.image_id for sample in samples)
    assert all(sample.path.stem == sample.image_id for sample in samples)


def test_an_image_without_a_lesion_is_left_out_where_it_turns_up(spoiled):
    folder = spoiled(lambda rows: [*rows, {**rows[0], "image_id": "ISIC_0035068"}])

    assert "ISIC_0035068" not in {sample.image_id for sample in read_samples(folder)}


def test_what_is_known_of_the_patient_is_kept_and_unknown_is_none(spoiled):
    folder = spoiled(
        lambda rows: [
            {**row, "age": age, "sex": sex, "localization": localization}
            for row, (age, sex, localization) in zip(
                rows,
                [("80.0", "Male", "Scalp"), ("", "unknown", "unknown"), *[("5", "female", "")] * 110],
                strict=True,
            )
        ]
    )

    known, unknown, child, *_ = (
        (sample.age, sample.sex, sample.localization)
        for sample in sorted(read_samples(folder), key=lambda sample: sample.image_id)
    )

    assert known == (80.0, "male", "scalp")
    assert unknown == (None, None, None)
    assert child == (5.0, "female", None)


def test_a_folder_without_tables_says_what_it_lacks(tmp_path):
    with pytest.raises(UnusableData, match=r"a table with a column of images.*no file \*\.csv"):
        read_samples(tmp_path)


@pytest.mark.parametrize("missing", ["dx", "image_id", "lesion_id"])
def test_a_missing_column_is_told_with_those_that_are_there(spoiled, missing):
    folder = spoiled(
        lambda rows: [
            {key: value for key, value in row.items() if key not in {missing, "age"}} for row in rows
        ]
    )
    there = ", ".join(name for name in ("lesion_id", "image_id", "dx") if name != missing)

    with pytest.raises(UnusableData, match=rf"HAM10000_metadata\.csv with {there}"):
        read_samples(folder)


def test_an_unknown_class_is_named_with_its_line(spoiled):
    folder = spoiled(lambda rows: [rows[0], {**rows[1], "dx": "scc"}, *rows[2:]])

    with pytest.raises(UnusableData, match=r"unknown class \(1\): scc \(HAM10000_metadata\.csv, line 3\)"):
        read_samples(folder)


def test_an_image_that_is_not_there_is_named(spoiled):
    folder = spoiled(lambda rows: [*rows, {**rows[0], "image_id": "ISIC_9999999"}])

    with pytest.raises(
        UnusableData, match=r"not there \(1\): ISIC_9999999 \(HAM10000_metadata\.csv, line 114\)"
    ):
        read_samples(folder)


def test_an_image_named_twice_is_named_with_both_lines(spoiled):
    with pytest.raises(UnusableData, match=r"named twice \(1\): .*line 7 and .*line 114"):
        read_samples(spoiled(lambda rows: [*rows, rows[5]]))


def test_an_image_with_two_files_is_named_with_both(spoiled):
    folder = spoiled(lambda rows: rows)
    first = next(folder.rglob("*.jpg"))
    shutil.copy(first, folder / f"{first.stem}.PNG")

    with pytest.raises(UnusableData, match=rf"two files \(1\): .*{first.stem}.* and .*{first.stem}"):
        read_samples(folder)


def test_a_lesion_in_two_classes_is_named_with_both(spoiled):
    folder = spoiled(lambda rows: [rows[0], {**rows[1], "dx": "vasc"}, *rows[2:]])

    with pytest.raises(UnusableData, match=r"two classes \(1\): HAM_00000 is akiec .* and vasc"):
        read_samples(folder)


@pytest.mark.parametrize(
    ("column", "value"), [("age", "old"), ("age", "-3"), ("age", "150"), ("age", "1e999"), ("sex", "m?")]
)
def test_a_value_that_cannot_be_is_named_with_its_line(spoiled, column, value):
    folder = spoiled(lambda rows: [{**row, column: value if row is rows[4] else ""} for row in rows])

    with pytest.raises(UnusableData, match=rf"impossible value \(1\): .*{re.escape(value)}.*line 6"):
        read_samples(folder)


def test_all_problems_are_told_at_once_each_kind_with_its_number_and_first_examples(spoiled):
    folder = spoiled(
        lambda rows: [
            *({**row, "dx": "scc"} for row in rows[:9]),
            *rows[9:],
            {**rows[20], "image_id": "ISIC_9999999"},
        ]
    )

    with pytest.raises(UnusableData) as caught:
        read_samples(folder)

    assert "unknown class (9): scc" in str(caught.value)
    assert "line 4); and 6 more" in str(caught.value)
    assert "not there (1): ISIC_9999999" in str(caught.value)


def test_metadata_without_rows_is_no_data_set(spoiled):
    folder = spoiled(lambda rows: rows)
    (folder / "HAM10000_metadata.csv").write_text("lesion_id,image_id,dx\n")

    with pytest.raises(UnusableData, match="name no image"):
        read_samples(folder)


def test_files_that_no_table_names_are_noted_and_stop_nothing(spoiled):
    folder = spoiled(lambda rows: rows[:-2])

    samples, findings = inspect_samples(folder)

    assert len(samples) == 110
    assert findings.problems == {}
    assert findings.notes == ["Image files that no table names, not used: 2."]


def test_frequencies_count_lesions_not_images(dataset):
    assert lesion_frequencies(read_samples(dataset)) == pytest.approx([1 / len(CLASSES)] * len(CLASSES))


def test_pixels_are_decoded_once_and_then_read_from_the_cache(dataset, tmp_path):
    samples = read_samples(dataset)
    calls = []

    first = load_pixels(samples, 32, tmp_path, calls.append)
    second = load_pixels(samples, 32, tmp_path, lambda done: pytest.fail("decoded again"))

    assert first.shape == (len(samples), 32, 32, 3)
    assert calls == list(range(1, len(samples) + 1))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("size", [32, 224])
def test_training_sees_a_picture_as_serving_does(dataset, size):
    path = read_samples(dataset)[0].path

    np.testing.assert_array_equal(read_image(path, size), decode(path.read_bytes(), 1, size).pixels)


def test_images_that_do_not_decode_are_all_named_and_leave_no_cache(spoiled, tmp_path):
    samples = read_samples(spoiled(lambda rows: rows))
    samples[7].path.write_bytes(b"not a picture")
    samples[9].path.write_bytes(b"")

    with pytest.raises(
        UnusableData,
        match=rf"unreadable image \(2\): .*{samples[7].image_id}\.jpg; .*{samples[9].image_id}\.jpg",
    ):
        load_pixels(samples, 32, tmp_path / "cache", lambda done: None)

    assert not list((tmp_path / "cache").iterdir())


def test_a_decoding_that_is_interrupted_leaves_no_cache(dataset, tmp_path):
    def interrupt(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_pixels(read_samples(dataset), 32, tmp_path, interrupt)

    assert not list(tmp_path.iterdir())


def test_a_disk_too_small_for_the_cache_is_found_before_it_is_filled(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))

    with pytest.raises(TooLittleSpace, match="free space"):
        load_pixels(read_samples(dataset), 32, tmp_path, lambda done: None)

    assert not list(tmp_path.iterdir())


def test_the_digest_changes_with_a_label_and_with_a_pixel(dataset, tmp_path):
    samples = read_samples(dataset)
    pixels = np.array(load_pixels(samples, 32, tmp_path, lambda done: None))
    digest = data_digest(samples, pixels)

    pixels[3, 4, 5, 0] ^= 1
    assert data_digest(samples, pixels) != digest
    pixels[3, 4, 5, 0] ^= 1
    assert data_digest(samples, pixels) == digest
    assert labels_of(samples).dtype == np.int64
