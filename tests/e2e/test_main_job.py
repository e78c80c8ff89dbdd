"""The main job from the outside: images go in through each door and come out classified."""

import csv
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from cli.portal_client import Upload
from dermabatch.imaging.synthetic import lesion_jpeg, lesion_png
from dermabatch.taxonomy import CLASSES


def synthetic_archive(first_seed: int) -> bytes:
    """Twelve painted lesions and one letter in a ZIP."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for seed in range(first_seed, first_seed + 11):
            archive.writestr(f"lesions/{seed}.jpg", lesion_jpeg(seed, width=300, height=225))
        archive.writestr("lesions/last.png", lesion_png(first_seed + 11, width=300, height=225))
        archive.writestr("letter.txt", "Dear colleague, these are the lesions.")
    return buffer.getvalue()


def test_the_originals_come_out_of_the_api_classified(live, originals):
    batch = live.client.submit([Upload("originals.zip", originals)])
    assert live.answered(batch) == 48
    live.assert_nothing_lost([batch], images=48)


def test_a_result_says_everything_a_reader_needs(live):
    batch = live.client.submit([Upload("lesions.zip", synthetic_archive(100))])
    assert live.answered(batch) == 12
    assert live.counts(batch).rejected == 1
    results = live.client.results(batch)
    assert len(results) == 13
    for result in (result for result in results if result["class"]):
        assert set(result["probabilities"]) == set(CLASSES)
        assert sum(result["probabilities"].values()) == pytest.approx(1)
        assert result["class"] == max(result["scores"], key=result["scores"].get)
        assert result["class"] in result["conformal_set"]
        malignant = sum(result["probabilities"][code] for code in ("akiec", "bcc", "mel"))
        assert result["malignant_probability"] == pytest.approx(malignant)
        assert result["triage_reason"]
        assert set(result["quality"]) >= {"flags", "sharpness"}
        assert len(result["model_digest"]) == 64
        assert result["preprocessing_version"]
        assert result["engine"].startswith("openvino")
        assert result["classified_at"]


def dermabatch(live, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line as a person at the portal's host calls it."""
    environment = {
        **live.installation.services.environment("web"),
        "DERMABATCH_USER": live.staff.email,
        "PATH": str(Path(sys.executable).parent),
    }
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_a_folder_goes_in_and_its_results_come_out_of_the_command_line(live, tmp_path):
    for seed in range(200, 206):
        (tmp_path / f"{seed}.jpg").write_bytes(lesion_jpeg(seed, width=300, height=225))
    handed_in = dermabatch(live, "submit", str(tmp_path), "--wait", "--json")
    assert handed_in.returncode == 0, handed_in.stderr
    batch = json.loads(handed_in.stdout)["batch"]
    exported = dermabatch(live, "results", batch, "--format", "isic")
    assert exported.returncode == 0, exported.stderr
    rows = list(csv.DictReader(io.StringIO(exported.stdout)))
    assert {row["image"] for row in rows} == {str(seed) for seed in range(200, 206)}
    assert list(rows[0]) == ["image", "MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"]


def test_the_originals_come_out_of_the_command_line_classified(live, originals, tmp_path):
    archive = tmp_path / "originals.zip"
    archive.write_bytes(originals)
    handed_in = dermabatch(live, "submit", str(archive), "--wait", "--json")
    assert handed_in.returncode == 0, handed_in.stderr
    live.assert_nothing_lost([json.loads(handed_in.stdout)["batch"]], images=48)


def test_a_command_that_is_used_wrongly_says_so_with_exit_code_2(live):
    wrong = dermabatch(live, "submit", "/no/such/folder")
    assert wrong.returncode == 2
    assert wrong.stdout == ""
    assert "/no/such/folder" in wrong.stderr


def test_the_doctor_finds_a_working_installation_well(live):
    environment = {
        **live.installation.services.environment("worker"),
        "PATH": str(Path(sys.executable).parent),
    }
    visit = subprocess.run(
        [sys.executable, "-m", "cli.main", "doctor", "--deep", "--json"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    found = json.loads(visit.stdout)
    assert visit.returncode == 0, found
    assert {check["name"] for check in found["checks"]} >= {"conservation", "bytes", "model"}
