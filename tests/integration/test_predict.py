"""`dermabatch predict` as a person calls it: real files in, a real result file out, with the shipped model."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dermabatch.imaging.synthetic import lesion_jpeg, lesion_png
from dermabatch.prediction import CHUNK_IMAGES
from dermabatch.shipped import SHIPPED_MODEL
from dermabatch.taxonomy import CLASSES, ISIC_COLUMNS, LESION_CLASSES

LESIONS = CHUNK_IMAGES + 3


def dermabatch(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def mixed_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More than one chunk of lesions in two folders, and among them files that are no images."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "more").mkdir()
    for seed in range(LESIONS - 1):
        (folder / f"lesion_{seed:03}.jpg").write_bytes(lesion_jpeg(seed))
    (folder / "more" / "last.png").write_bytes(lesion_png(LESIONS))
    (folder / "notes.txt").write_text("patient was in a hurry")
    (folder / "lesion_001_cut.jpg").write_bytes(lesion_jpeg(1)[:3000])
    (folder / ".DS_Store").write_bytes(b"not looked at")
    return folder


@pytest.fixture(scope="module")
def csv_run(mixed_folder: Path) -> tuple["subprocess.CompletedProcess[str]", Path]:
    """The mixed folder, classified once."""
    out = mixed_folder.parent / "results.csv"
    return dermabatch("predict", mixed_folder, "--out", out, "--json"), out


def test_every_image_gets_a_row_in_the_order_of_the_names(
    csv_run: tuple[Any, Path], mixed_folder: Path
) -> None:
    _, out = csv_run
    expected = [f"lesion_{seed:03}.jpg" for seed in range(LESIONS - 1)] + ["more/last.png"]
    assert [row["file"] for row in rows(out)] == [str(mixed_folder / name) for name in expected]


def test_a_row_holds_calibrated_probabilities_class_triage_and_reason(csv_run: tuple[Any, Path]) -> None:
    for row in rows(csv_run[1]):
        assert sum(float(row[f"p_{code}"]) for code in CLASSES) == pytest.approx(1)
        assert row["class"] in CLASSES
        malignant = sum(float(row[f"p_{lesion.code}"]) for lesion in LESION_CLASSES if lesion.malignant)
        assert float(row["malignant"]) == pytest.approx(malignant)
        assert row["reason"].startswith(row["triage"].replace("_", " ").capitalize() + ": ")


def test_files_that_are_no_images_are_named_with_their_reason_and_the_exit_code_is_1(
    csv_run: tuple[Any, Path], mixed_folder: Path
) -> None:
    run, _ = csv_run
    assert run.returncode == 1
    assert f"{mixed_folder / 'notes.txt'}: not a dermatoscopic image" in run.stderr
    assert f"{mixed_folder / 'lesion_001_cut.jpg'}: " in run.stderr
    assert ".DS_Store" not in run.stderr


def test_json_is_one_object_on_standard_output_and_nothing_else(csv_run: tuple[Any, Path]) -> None:
    run, out = csv_run
    summary = json.loads(run.stdout)
    assert summary["files"] == LESIONS + 2
    assert summary["classified"] == LESIONS == sum(summary["triage"].values())
    assert {file["reason"] for file in summary["unreadable"]} == {"not_an_image", "truncated"}
    assert summary["model"] == SHIPPED_MODEL.digest
    assert summary["out"] == str(out)


@pytest.mark.parametrize("engine", ["openvino", "tensorflow"])
def test_the_isic_format_has_the_stem_and_scores_whose_argmax_is_the_class(
    tmp_path: Path, engine: str, csv_run: tuple[Any, Path], mixed_folder: Path
) -> None:
    pytest.importorskip(engine)
    out = tmp_path / "isic.csv"
    names = [f"lesion_{seed:03}.jpg" for seed in range(3)]
    run = dermabatch(
        "predict",
        *(mixed_folder / name for name in names),
        "--out",
        out,
        "--format",
        "isic",
        "--engine",
        engine,
    )
    assert run.returncode == 0, run.stderr
    assert out.read_text().startswith("image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\n")
    classes = {lesion.isic: lesion.code for lesion in LESION_CLASSES}
    for row, decided in zip(rows(out), rows(csv_run[1]), strict=False):
        assert row["image"] == Path(decided["file"]).stem
        scores = {classes[column]: float(row[column]) for column in ISIC_COLUMNS}
        assert sum(scores.values()) == pytest.approx(1)
        assert max(scores, key=scores.__getitem__) == decided["class"]


def test_without_json_a_summary_names_model_file_and_the_notice(tmp_path: Path, mixed_folder: Path) -> None:
    out = tmp_path / "one.csv"
    run = dermabatch(
        "predict",
        mixed_folder / "more",
        "--out",
        out,
        "--model",
        SHIPPED_MODEL.folder,
        "--engine",
        "openvino",
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("1 of 1 files classified in ")
    for part in (str(out), SHIPPED_MODEL.digest, "Not a medical device"):
        assert part in run.stdout


def test_a_result_file_is_replaced_whole_or_not_at_all(tmp_path: Path, mixed_folder: Path) -> None:
    out = tmp_path / "results.csv"
    out.write_text("of yesterday")
    empty_model = tmp_path / "model"
    empty_model.mkdir()
    run = dermabatch("predict", mixed_folder, "--out", out, "--model", empty_model)
    assert run.returncode == 1
    assert "manifest.json" in run.stderr
    assert out.read_text() == "of yesterday"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["results.csv"]


@pytest.mark.parametrize("case", ["no such path", "empty folder", "no such place", "same stem"])
def test_wrong_use_is_told_in_one_sentence_with_exit_code_2(tmp_path: Path, case: str) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    arguments: list[str | Path] = [pictures, "--out", tmp_path / "out.csv"]
    if case == "no such path":
        arguments[0] = tmp_path / "nowhere"
    elif case == "no such place":
        (pictures / "a.jpg").write_bytes(lesion_jpeg(1))
        arguments[-1] = tmp_path / "nowhere" / "out.csv"
    elif case == "same stem":
        (pictures / "a.jpg").write_bytes(lesion_jpeg(1))
        (pictures / "a.png").write_bytes(lesion_png(1))
        arguments += ["--format", "isic"]
    run = dermabatch("predict", *arguments)
    assert run.returncode == 2
    assert run.stdout == ""
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "out.csv").exists()
