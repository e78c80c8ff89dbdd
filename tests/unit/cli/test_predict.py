"""`dermabatch predict` told of age, sex and place: read as at intake, weighed as in serving, named in the result."""

import csv
import json

import numpy as np
import pytest

from dermabatch.clinical import VALUES, Field
from dermabatch.imaging.synthetic import lesion_jpeg
from dermabatch.imaging.synthetic_dicom import lesion_dicom
from dermabatch.manifest import Fusion
from dermabatch.taxonomy import CLASSES
from tests.colour_model import CELLS, write_colour_model

pytest.importorskip("openvino")

FUSION = Fusion(
    evidence={
        field: {value: tuple(0.6 * (-1) ** c for c in range(len(CLASSES))) for value in VALUES[field]}
        for field in (Field.AGE, Field.LOCALIZATION)
    }
)
FILES = ("0.jpg", "1.jpg", "2.jpg")
CSV = "file,age,sex,localization\n0.jpg,47,m,Left upper arm\n1.jpg,,f,somewhere\n2.jpg,83,,unknown\n"


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed, name in enumerate(FILES):
        (folder / name).write_bytes(lesion_jpeg(seed))
    return folder


@pytest.fixture
def model(tmp_path):
    """Makes the folder of a model with or without a fusion."""

    def _model(fusion):
        weights = np.random.default_rng(1).normal(0, 1, (CELLS * CELLS * 3 + 1, len(CLASSES)))
        folder = tmp_path / ("fused" if fusion else "plain")
        return write_colour_model(
            folder, weights.astype(np.float32), name="tiny", split_digest="0" * 64, fusion=fusion
        ).folder

    return _model


@pytest.fixture
def predicted(typed, tmp_path):
    """Runs `dermabatch predict`; returns its JSON and the rows of its file."""

    def run(*words):
        out = tmp_path / "results.csv"
        code, output, errors = typed("predict", *words, "--out", out, "--json")
        assert code == 0, errors
        with out.open(newline="") as stream:
            return json.loads(output), list(csv.DictReader(stream))

    return run


def table(folder, text):
    path = folder / "monday.csv"
    path.write_text(text)
    return path


def answers(row):
    return {name: cell for name, cell in row.items() if name != "fields_used"}


def test_each_row_names_the_fields_that_were_weighed_and_the_others_stay_as_they_were(
    predicted, pictures, model
):
    _, alone = predicted(pictures, "--model", model(FUSION))
    summary, rows = predicted(pictures, "--model", model(FUSION), "--metadata", table(pictures, CSV))
    assert [row["fields_used"] for row in alone] == ["", "", ""]
    assert [row["fields_used"] for row in rows] == ["age localization", "", "age"]
    assert summary["fields_used"] == {"age": 2, "sex": 0, "localization": 1}
    assert [answers(row) == answers(before) for row, before in zip(rows, alone, strict=True)] == [
        False,
        True,
        False,
    ]


def test_a_single_picture_is_told_of_without_a_table(predicted, pictures, model):
    _, table_rows = predicted(pictures, "--model", model(FUSION), "--metadata", table(pictures, CSV))
    words = ("--age", "47", "--sex", "m", "--localization", "Left upper arm")
    _, (row,) = predicted(pictures / "0.jpg", "--model", model(FUSION), *words)
    assert answers(row) == answers(table_rows[0])
    assert row["fields_used"] == "age localization"


def test_a_dicom_file_speaks_for_itself_where_nobody_else_does(predicted, tmp_path, model):
    file = tmp_path / "lesion.dcm"
    file.write_bytes(lesion_dicom(3, age=47, localization="scalp"))
    _, (own,) = predicted(file, "--model", model(FUSION))
    _, (told,) = predicted(file, "--model", model(FUSION), "--age", "12")
    assert own["fields_used"] == told["fields_used"] == "age localization"


def test_a_model_that_weighs_nothing_answers_by_the_picture_and_says_so(
    typed, predicted, pictures, model, tmp_path
):
    plain = model(None)
    _, alone = predicted(pictures, "--model", plain)
    _, rows = predicted(pictures, "--model", plain, "--metadata", table(pictures, CSV))
    assert rows == alone
    out = tmp_path / "again.csv"
    _, said, _ = typed("predict", pictures / "0.jpg", "--model", plain, "--age", "47", "--out", out)
    assert "This model looks at the picture alone" in said


def test_a_table_may_know_of_more_files_and_of_fewer(typed, pictures, model, tmp_path):
    known = table(tmp_path, "file,age,ward\n2.jpg,83,B\nelsewhere.jpg,20,B\n")
    code, said, _ = typed(
        "predict", pictures, "--model", model(FUSION), "--metadata", known, "--out", tmp_path / "results.csv"
    )
    assert code == 0
    assert "Weighed beside the picture: age for 1." in said
    assert "Lines of the CSV that name none of these files: 1" in said
    assert "Columns of the CSV that nothing reads: ward" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,age\n0.jpg,47\n", "monday.csv: Expected a CSV whose first line names the column file"),
        ("file,age\n0.jpg,47\n1.jpg,old\n", "monday.csv: line 3 of the CSV: age: expected years from 0 to"),
        ("file,sex\n0.jpg,x\n1.jpg,y\n", "or leave the value empty. More such lines: 1."),
        ("file,age\nx.jpg,47\n", "monday.csv: Expected in the column file the names of these pictures"),
        ("file,age\n", "Received: no line at all."),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused_by_file_and_line(typed, pictures, tmp_path, text, said):
    out = tmp_path / "results.csv"
    code, output, errors = typed("predict", pictures, "--metadata", table(tmp_path, text), "--out", out)
    assert (code, output) == (2, "")
    assert said in " ".join(errors.split())
    assert not out.exists()


def test_two_pictures_that_want_one_line_are_told_how_to_get_one_each(typed, pictures, tmp_path):
    (pictures / "more").mkdir()
    (pictures / "more" / "0.jpg").write_bytes(lesion_jpeg(9))
    known = table(tmp_path, "file,age\n0.jpg,47\n")
    code, _, errors = typed("predict", pictures, "--metadata", known, "--out", tmp_path / "results.csv")
    assert code == 2
    assert "write the full path of each" in " ".join(errors.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--age", "47"), "Expected a single picture with --age. Received: 3 files."),
        (("--age", "old"), "age: expected years from 0 to"),
        (("--sex", "x"), "sex: expected male, female, other or unknown"),
        (("--age", "47", "--metadata"), "Expected --metadata or --age. Received: both."),
    ],
)
def test_options_for_one_picture_that_cannot_be_meant_are_refused(typed, pictures, tmp_path, words, said):
    if words[-1] == "--metadata":
        words = (*words, table(tmp_path, CSV))
    path = pictures if "single" in said else pictures / "0.jpg"
    code, _, errors = typed("predict", path, *words, "--out", tmp_path / "results.csv")
    assert code == 2
    assert said in " ".join(errors.split())
