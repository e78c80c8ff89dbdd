"""The challenge's own scorer, in an environment of its own, counts the same BMA as we do.

It needs pandas before 3 and so cannot share ours. Without a package registry the test is skipped on a laptop, and
fails in CI.
"""

import csv
import json
import os
import subprocess
import venv

import numpy as np
import pytest

from dermabatch.exports import ISIC_HEADER, isic_row
from dermabatch.taxonomy import BY_CODE, CLASSES
from dermabatch.triage import decision_scores
from tests.unit.training import held_out_situations as situations
from training.evaluate import evaluate

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

REQUIREMENTS = ("isic-challenge-scoring==5.6.0", "pandas<3")
INSTALL_SECONDS = 600


@pytest.fixture(scope="module")
def official_python(tmp_path_factory):
    """The interpreter of an environment that holds nothing but the scorer."""
    folder = tmp_path_factory.mktemp("scorer")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--no-compile", *REQUIREMENTS]
    outcome = subprocess.run(install, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    if outcome.returncode and "CI" not in os.environ:
        pytest.skip(f"the scorer cannot be installed here: {outcome.stderr.strip().splitlines()[-1]}")
    assert outcome.returncode == 0, outcome.stderr
    return python


@pytest.fixture
def answers():
    return situations.answers(images=600)


def test_every_class_is_scored_alike(official_python, answers, tmp_path):
    report = evaluate(answers, situations.calibration(), seed=1)

    scored = _officially(official_python, answers, tmp_path)

    assert report["bma"] == pytest.approx(scored["aggregate"]["balanced_accuracy"], abs=1e-9)
    for code in CLASSES:
        ours, column = report["classes"][code], BY_CODE[code].isic
        assert ours["auroc"] == pytest.approx(scored["per_category"]["auc"][column], abs=1e-9)
        assert ours["average_precision"] == pytest.approx(scored["per_category"]["ap"][column], abs=1e-9)


def test_ties_are_as_wrong_as_there(official_python, answers, tmp_path):
    answers.logits[::9] = answers.logits[::9].round()  # whole numbers: classes often share the first place
    answers.logits[::40] = 0  # and here all of them do

    scored = _officially(official_python, answers, tmp_path)

    report = evaluate(answers, situations.calibration(), seed=1)
    assert report["bma"] == pytest.approx(scored["aggregate"]["balanced_accuracy"], abs=1e-9)
    shared = np.sort(answers.logits, axis=1)
    assert (shared[:, -1] == shared[:, -2]).sum() > 20


def _officially(python, answers, folder):
    """What the scorer says of the decision scores, as its library gives it: all digits, by class."""
    _write(folder / "truth.csv", answers, np.eye(len(CLASSES))[answers.truth])
    _write(folder / "prediction.csv", answers, decision_scores(answers.logits))
    program = (
        "import json, pathlib, sys\n"
        "from isic_challenge_scoring.classification import ClassificationMetric, ClassificationScore\n"
        "score = ClassificationScore.from_file(*map(pathlib.Path, sys.argv[1:]), "
        "ClassificationMetric.BALANCED_ACCURACY)\n"
        "print(json.dumps(score.to_dict(rocs=False)))"
    )
    command = [python, "-c", program, folder / "truth.csv", folder / "prediction.csv"]
    outcome = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert outcome.returncode == 0, outcome.stderr
    return json.loads(outcome.stdout.splitlines()[-1])


def _write(path, answers, scores):
    """A table as `dermabatch predict --format isic` writes it."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(ISIC_HEADER)
        for sample, row in zip(answers.samples, scores, strict=True):
            writer.writerow(isic_row(sample.image_id, row.tolist()))
