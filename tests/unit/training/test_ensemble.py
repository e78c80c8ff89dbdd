"""One artifact of several runs."""

import json
import shutil
from dataclasses import replace

import pytest

from dermabatch.manifest import REPORT, REPORT_PAGE
from tests.unit.training.test_run import OPTIONS, RECIPE, Silent
from training.ensemble import train_ensemble
from training.errors import UnreadableCheckpoint, UnusableRuns
from training.run import SPLIT, fit, prepare

SHORT = replace(RECIPE, epochs=2)


@pytest.fixture(scope="module")
def runs(dataset, tmp_path_factory):
    """Folders of two runs that differ by their seed."""
    folders = []
    for seed in (1, 2):
        folder = tmp_path_factory.mktemp(f"run-{seed}")
        prepared = prepare(dataset, folder, SHORT.input_size, Silent())
        fit(prepared, folder, replace(SHORT, seed=seed), Silent(), pretrained=False)
        folders.append(folder)
    return folders


def test_two_runs_become_a_model_whose_report_tells_of_both(dataset, runs, tmp_path):
    artifact = train_ensemble(dataset, runs, tmp_path, 48, OPTIONS, Silent())

    assert artifact.manifest.network.parameters == {
        **{"of": "baseline_cnn", "members": 2},
        **{"input_size": 48, "classes": 7},
    }
    report = json.loads(artifact.read(REPORT))
    assert [run["recipe"]["seed"] for run in report["runs"]] == [1, 2]
    assert report["about"]["digest"] is None  # the digest covers the report, not the other way round
    assert report["bma"] == artifact.manifest.metrics.bma
    assert b"seeds 1, 2," in artifact.read(REPORT_PAGE)
    assert b"average of 2" in artifact.read(REPORT_PAGE)
    assert artifact.manifest.training.epochs == 4
    assert artifact.manifest.training.seeds == (1, 2)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_same_run_twice_is_no_ensemble(dataset, runs, tmp_path):
    with pytest.raises(UnusableRuns, match=r"different seeds\. Received: \[1, 1\]"):
        train_ensemble(dataset, [runs[0], runs[0]], tmp_path, None, OPTIONS, Silent())


def test_a_run_on_another_split_is_named(dataset, runs, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(runs[1], other)
    table = (other / SPLIT).read_text()
    (other / SPLIT).write_text(table.replace(",test", ",train", 1))

    with pytest.raises(UnusableRuns, match=f"another one in {other}"):
        train_ensemble(dataset, [runs[0], other], tmp_path / "out", None, OPTIONS, Silent())


def test_a_folder_without_a_run_is_named(dataset, runs, tmp_path):
    with pytest.raises(UnreadableCheckpoint, match="nowhere"):
        train_ensemble(dataset, [runs[0], tmp_path / "nowhere"], tmp_path, None, OPTIONS, Silent())
