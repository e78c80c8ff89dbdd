"""From a trained network to an artifact with its report."""

import json
from dataclasses import replace

import pytest

from dermabatch.manifest import CARD, REPORT, REPORT_PAGE
from tests.unit.training.test_run import OPTIONS, RECIPE, Silent
from training.finish import train_model
from training.report.of_artifact import Effort


class Listens(Silent):
    """Remembers of which work it heard, and whether each came to its end."""

    def __init__(self):
        self.ended = {}

    def working(self, work, done, total):
        self.ended[work] = done == total


@pytest.mark.long
def test_the_report_in_an_artifact_has_every_part_and_progress_is_told(dataset, tmp_path):
    watcher = Listens()

    artifact = train_model(dataset, tmp_path, RECIPE, replace(OPTIONS, effort=Effort.QUICK), watcher)

    report, page = json.loads(artifact.read(REPORT)), artifact.read(REPORT_PAGE).decode()
    assert {"robustness", "poses", "explanations", "promises", "metadata_fusion", "runs"} <= report.keys()
    assert [row["map"] for row in report["explanations"]][:4] == ["cam", "gradcam", "lime", "shap"]
    assert report["about"]["side"] == "test"
    assert report["about"]["split_is_the_models"]
    assert f"{report['bma']:.3f}" in page
    assert f"{report['bma']:.3f}" in artifact.read(CARD).decode()
    assert all(watcher.ended.values())
    assert {"explaining", "classifying", "eight poses", "damaged pictures"} <= watcher.ended.keys()
