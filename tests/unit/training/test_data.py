"""Reading a data set: what is there, and every way in which it can be wrong."""

import csv
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from dermabatch.taxonomy import CLASSES
from tests.unit.training.conftest import write_metadata
from training.data import data_digest, labels_of, lesion_frequencies, load_pixels, read_samples
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


def test_a_folder_without_metadata_says_what_it_lacks(tmp_path):
    with pytest.raises(UnusableData, match=r"HAM10000_metadata\.csv.*no such file"):
        read_samples(tmp_path)


def test_a_missing_column_is_named(spoiled):
    folder = spoiled(lambda rows: [{key: row[key] for key in ("lesion_id", "image_id")} for row in rows])

    with pytest.raises(UnusableData, match=r"expected a column dx\. Received: lesion_id, image_id"):
        read_samples(folder)


def test_an_unknown_class_is_named_with_its_line(spoiled):
    folder = spoiled(lambda rows: [rows[0], {**rows[1], "dx": "scc"}, *rows[2:]])

    with pytest.raises(UnusableData, match=r"line 3.*Received: scc"):
        read_samples(folder)


def test_an_image_that_is_not_there_is_named(spoiled):
    folder = spoiled(lambda rows: [*rows, {**rows[0], "image_id": "ISIC_9999999"}])

    with pytest.raises(UnusableData, match=r"no file ISIC_9999999\.jpg"):
        read_samples(folder)


def test_an_image_named_twice_is_named(spoiled):
    with pytest.raises(UnusableData, match="a second time"):
        read_samples(spoiled(lambda rows: [*rows, rows[5]]))


def test_a_lesion_in_two_classes_is_named_with_both(spoiled):
    folder = spoiled(lambda rows: [rows[0], {**rows[1], "dx": "vasc"}, *rows[2:]])

    with pytest.raises(UnusableData, match=r"HAM_00000 stands in two classes: akiec .* and vasc"):
        read_samples(folder)


def test_metadata_without_rows_is_no_data_set(spoiled):
    folder = spoiled(lambda rows: rows)
    (folder / "HAM10000_metadata.csv").write_text("lesion_id,image_id,dx\n")

    with pytest.raises(UnusableData, match="names no image"):
        read_samples(folder)


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


def test_an_image_that_does_not_decode_is_named_and_leaves_no_cache(spoiled, tmp_path):
    folder = spoiled(lambda rows: rows)
    samples = read_samples(folder)
    samples[7].path.write_bytes(b"not a picture")

    with pytest.raises(UnusableData, match=rf"{samples[7].image_id}\.jpg is not a readable image"):
        load_pixels(samples, 32, tmp_path / "cache", lambda done: None)

    assert not list((tmp_path / "cache").glob("*.npy"))


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
