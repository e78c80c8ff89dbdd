"""`dermabatch evaluate` on a model that weighs the age beside the picture."""

import csv
import json
import shutil

import pytest

from dermabatch.clinical import VALUES, Field
from dermabatch.manifest import Fusion
from dermabatch.taxonomy import CLASSES
from tests.colour_model import fitted_weights, write_colour_model
from tests.painted_lesions import write_metadata
from training.data import read_samples

MELANOMAS_ARE_OLD = Fusion(
    evidence={
        Field.AGE: {
            age: tuple(0.69 * (code == "mel") * (1 if age >= "70" else -1) for code in CLASSES)
            for age in VALUES[Field.AGE]
        }
    }
)


@pytest.fixture
def dataset_with_ages(dataset, tmp_path):
    """The painted lesions, in which melanomas are of the old and nothing else is."""
    folder = tmp_path / "aged"
    shutil.copytree(dataset, folder)
    with next(folder.glob("*.csv")).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    write_metadata(folder, [{**row, "age": "70.0" if row["dx"] == "mel" else "30.0"} for row in rows])
    return folder


@pytest.fixture
def evaluated(tmp_path, typed):
    """Evaluates a model that sees colours and doubts melanomas; returns summary, report and page."""

    def run(data, fusion):
        weights = fitted_weights(read_samples(data)) * 0.1  # logits of the true class are larger by about 1.2
        weights[-1, CLASSES.index("mel")] -= 1.2
        model = write_colour_model(
            tmp_path / "model", weights, name="tiny", split_digest="0" * 64, fusion=fusion
        )
        out = tmp_path / "report"
        words = ("--out", out, "--robustness", "none", "--json")
        code, output, errors = typed("evaluate", model.folder, data, *words)
        assert code == 0, errors
        report = json.loads((out / "report.json").read_text())
        return json.loads(output), report, (out / "report.html").read_text()

    return run


def test_a_model_that_weighs_ages_is_shown_with_and_without_them_on_these_very_images(
    dataset_with_ages, tmp_path, evaluated
):
    summary, report, page = evaluated(dataset_with_ages, fusion=MELANOMAS_ARE_OLD)

    with_fields, by_age = summary["with_fields"], report["metadata_fusion"]["by_fields"][0]
    assert by_age["fields"] == ["age"]
    assert by_age["bma"] == with_fields["bma"] > summary["bma"] == report["bma"]
    assert with_fields["gain"] == pytest.approx(with_fields["bma"] - summary["bma"])
    assert with_fields["known"] == {"age": 1.0, "sex": 0.0, "localization": 0.0}
    assert report["metadata_fusion"]["images"] == report["n"]
    assert f"{by_age['gain']:+.3f}" in page[page.index('id="fusion"') :]


def test_a_model_that_weighs_the_picture_alone_has_no_figures_with_fields(dataset_with_ages, evaluated):
    summary, report, page = evaluated(dataset_with_ages, fusion=None)

    assert summary["with_fields"] is None
    assert "metadata_fusion" not in report
    assert 'id="fusion"' not in page
