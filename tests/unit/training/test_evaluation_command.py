"""`dermabatch evaluate` as a person types it, on the shipped model and painted discs."""

import json
from functools import partial

import pytest

from dermabatch.shipped import SHIPPED_MODEL, shipped_or_named
from tests.painted_lesions import write_metadata
from training.data import read_samples
from training.split import split_by_lesion, split_table


@pytest.fixture
def typed(typed):
    """Runs `dermabatch evaluate` with the shipped model."""
    return partial(typed, "evaluate", SHIPPED_MODEL.folder)


@pytest.fixture
def split(dataset, tmp_path):
    samples = read_samples(dataset)
    path = tmp_path / "split.csv"
    path.write_text(split_table(samples, split_by_lesion(samples, seed=1)))
    return path


def test_a_side_is_evaluated_into_a_page_and_its_json(typed, dataset, split, tmp_path):
    out = tmp_path / "report"

    code, output, errors = typed(dataset, "--split", split, "--out", out, "--robustness", "none", "--json")

    summary, report = json.loads(output), json.loads((out / "report.json").read_text())
    assert code == 0, errors
    assert summary["bma"] == report["bma"]
    assert report["about"]["digest"] == SHIPPED_MODEL.digest
    assert report["about"]["side"] == "test"
    assert not report["about"]["split_is_the_models"]
    assert report["n"] == report["cohorts"]["test"]["images"] < report["cohorts"]["train"]["images"]
    assert f"<h1>{shipped_or_named(None).manifest.name}" in (out / "report.html").read_text()
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "report.json"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--side", "test"), "Expected --split beside --side test"),
        (("--split", "nowhere.csv"), "Expected the table of a split at nowhere.csv"),
    ],
)
def test_a_wrong_split_is_named_and_nothing_is_left(typed, dataset, tmp_path, words, message):
    out = tmp_path / "report"

    code, output, errors = typed(dataset, "--out", out, *words)

    assert code == 2
    assert output == ""
    assert message in " ".join(errors.split())
    assert not out.exists()


def test_a_split_of_other_images_is_named(typed, dataset, split, tmp_path):
    split.write_text(split.read_text() + "ISIC_9999999,test\n")

    code, _, errors = typed(dataset, "--split", split, "--out", tmp_path / "report")

    assert code == 2
    assert "names 1 images that" in errors
    assert "ISIC_9999999 first" in errors


def test_a_class_without_images_is_named_and_no_report_is_left(typed, dataset, tmp_path):
    few, out = tmp_path / "few", tmp_path / "report"
    few.mkdir()
    for name in ("ISIC_000000", "ISIC_000010"):
        (few / f"{name}.jpg").write_bytes(next(dataset.rglob(f"{name}.jpg")).read_bytes())
    write_metadata(
        few,
        [
            {"lesion_id": "HAM_1", "image_id": "ISIC_000000", "dx": "akiec", "age": "50"},
            {"lesion_id": "HAM_2", "image_id": "ISIC_000010", "dx": "bcc", "age": "50"},
        ],
    )

    code, _, errors = typed(few, "--out", out)

    assert code == 2
    assert "none of them of bkl, df, mel, nv, vasc" in " ".join(errors.split())
    assert list(out.iterdir()) == []
