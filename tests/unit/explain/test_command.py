"""`dermabatch explain` as a person types it."""

import json

import cv2
import pytest

from dermabatch.imaging.synthetic import lesion_jpeg

pytest.importorskip("openvino")


@pytest.fixture
def lesion(tmp_path):
    path = tmp_path / "lesion.jpg"
    path.write_bytes(lesion_jpeg(7))
    return path


def test_an_explanation_is_a_picture_and_its_figures_beside_the_baselines(typed, lesion, tmp_path):
    code, output, _ = typed("explain", lesion, "--class", "mel", "--out", tmp_path / "why.png", "--json")

    answer = json.loads(output)
    assert code == 0
    assert answer["class"] == "mel"
    assert answer["score"] == answer["scores"]["mel"]
    assert list(answer["methods"]) == ["cam"]
    assert list(answer["baselines"]) == ["random", "centre"]
    for judged in (answer["methods"]["cam"], *answer["baselines"].values()):
        assert 0 <= judged["deletion"] <= 1
        assert 0 <= judged["insertion"] <= 1
    assert cv2.imread(str(tmp_path / "why.png")) is not None


def test_a_file_that_is_no_picture_is_named_and_nothing_is_written(typed, tmp_path):
    no_picture = tmp_path / "notes.jpg"
    no_picture.write_text("a nevus, I think")

    code, output, errors = typed("explain", no_picture, "--out", tmp_path / "why.png")

    assert code == 2
    assert output == ""
    assert "notes.jpg" in errors
    assert [path.name for path in tmp_path.iterdir()] == ["notes.jpg"]


def test_an_unknown_class_is_answered_with_the_known_ones(typed, lesion):
    code, _, errors = typed("explain", lesion, "--class", "scc")
    assert code == 2
    assert "'akiec', 'bcc', 'bkl', 'df', 'mel', 'nv', 'vasc'" in errors


def test_a_place_where_nobody_can_write_is_found_before_any_work(typed, lesion, tmp_path):
    code, _, errors = typed("explain", lesion, "--out", tmp_path / "missing" / "why.png")
    assert code == 2
    assert "No such file or directory" in errors
