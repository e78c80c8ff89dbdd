"""`dermabatch data` as a person types it."""

import json
import shutil
from functools import partial

import pytest

from dermabatch.taxonomy import CLASSES
from tests.painted_lesions import write_metadata
from tests.unit.training.dataverse import archive_of, serving
from training.data import read_samples
from training.split import SPLIT_SEED, split_by_lesion, split_digest, split_table


@pytest.fixture
def typed(typed):
    """Runs `dermabatch data`."""
    return partial(typed, "data")


@pytest.fixture
def copied(dataset, tmp_path):
    return shutil.copytree(dataset, tmp_path / "copy")


def test_a_good_data_set_is_counted_by_class(typed, dataset):
    code, output, errors = typed("check", dataset)

    assert code == 0
    assert "class   images  lesions" in output
    assert "all        112       84" in output
    assert "problem" not in errors


def test_a_check_as_json_is_one_object(typed, dataset):
    code, output, _ = typed("check", dataset, "--json")

    found = json.loads(output)
    assert code == 0
    assert found["images"] == 112
    assert found["classes"]["mel"] == {"images": 16, "lesions": 12}
    assert found["problems"] == {}


def test_a_check_tells_all_that_is_wrong_also_in_the_pictures(typed, copied):
    pictures = sorted(copied.rglob("*.jpg"))
    pictures[0].write_bytes(b"not a picture")
    pictures[1].unlink()

    code, output, errors = typed("check", copied)

    assert code == 2
    assert f"problem: unreadable image (1): {pictures[0]}" in errors
    assert f"problem: image that is not there (1): {pictures[1].stem}" in errors
    assert "all        111       84" in output


def test_a_check_of_a_class_without_lesions_says_that_no_division_is_possible(typed, copied):
    rows = [
        {"lesion_id": s.lesion_id, "image_id": s.image_id, "dx": CLASSES[s.label]}
        for s in read_samples(copied)
    ]
    write_metadata(copied, [row for row in rows if row["dx"] != "df"])

    code, output, _ = typed("check", copied)

    assert code == 0
    assert "note: They cannot be divided for training. The class df has 0 lesions" in output


def test_a_split_is_a_file_with_a_digest(typed, dataset, tmp_path):
    out = tmp_path / "split.csv"

    code, output, _ = typed("split", dataset, "--out", out, "--json")

    samples = read_samples(dataset)
    assert code == 0
    assert out.read_text() == split_table(samples, split_by_lesion(samples, SPLIT_SEED))
    assert json.loads(output)["digest"] == split_digest(out.read_text())
    assert json.loads(output)["near_duplicates"] == []


def test_a_lesion_under_two_names_is_found_and_left_out_where_it_would_leak(typed, copied, tmp_path):
    samples = read_samples(copied)
    side_of = {
        samples[position].image_id: side
        for side, positions in split_by_lesion(samples, SPLIT_SEED).items()
        for position in positions
    }
    # Two test lesions of the same class would be needed to lose one; the painted set has one of each.
    train, calibration = (
        next(s for s in samples if side_of[s.image_id] == side and CLASSES[s.label] == "nv")
        for side in ("train", "calibration")
    )
    shutil.copy(train.path, calibration.path)

    code, _, errors = typed("split", copied, "--out", tmp_path / "split.csv")

    assert code == 2
    assert "The side calibration has no image of nv but near-duplicates" in errors
    assert not (tmp_path / "split.csv").exists()


def test_a_split_of_bad_data_ends_with_exit_code_2_and_no_file(typed, copied, tmp_path):
    next(copied.rglob("*.jpg")).unlink()

    code, output, errors = typed("split", copied, "--out", tmp_path / "split.csv")

    assert code == 2
    assert output == ""
    assert "image that is not there (1)" in errors
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_a_published_set_is_fetched_and_read(typed, dataset, tmp_path):
    pictures = sorted(dataset.rglob("*.jpg"))
    with serving() as server:
        server.add("HAM10000_metadata.tab", (dataset / "HAM10000_metadata.csv").read_bytes())
        server.add(
            "HAM10000_images_part_1.zip", archive_of({path.name: path.read_bytes() for path in pictures})
        )
        server.add("HAM10000_images_part_2.zip", archive_of({"ISIC_1.jpg": b"of no table"}))

        code, output, errors = typed("fetch", "ham10000", "--to", tmp_path / "ham", "--server", server.url)

    assert code == 0
    assert "is complete" in output
    assert "CC BY-NC 4.0" in errors
    assert len(read_samples(tmp_path / "ham")) == 112


def test_a_failed_download_is_nobodys_wrong_use(typed, tmp_path):
    with serving() as server:
        code, _, errors = typed("fetch", "ham10000", "--to", tmp_path / "ham", "--server", server.url)

    assert code == 1
    assert "expected the files HAM10000_images_part_1" in errors
    assert not (tmp_path / "ham").exists()
