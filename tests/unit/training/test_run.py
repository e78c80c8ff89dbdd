"""A run from data to artifact, on a network and images small enough for seconds."""

import json
import shutil
from dataclasses import replace

import numpy as np
import openvino
import pytest

from dermabatch.artifacts import read_artifact
from dermabatch.manifest import CARD, GOLDEN, OPENVINO_BIN, OPENVINO_XML, REPORT, REPORT_PAGE, WEIGHTS
from dermabatch.networks import build
from dermabatch.networks.weights import load_weights
from dermabatch.out_of_distribution import read_detector
from training.calibrate import calibrate
from training.checkpoint import RunState
from training.errors import RunExists, TrainingDiverged, UnreadableCheckpoint
from training.finish import ARTIFACT, Options, train_model
from training.metrics import balanced_log_loss
from training.predict import Predictor
from training.recipe import Recipe
from training.report.of_artifact import Effort
from training.run import CHECKPOINT, fit, prepare
from training.split import Side
from training.train import Trainer

RECIPE = Recipe(network="baseline_cnn", input_size=32, epochs=3, batch=16, peak_rate=5e-3)
OPTIONS = Options(name="tiny-1", data_name="painted discs", effort=Effort.NONE, pretrained=False)


class Silent:
    """Watches and says nothing."""

    def working(self, work, done, total):
        pass

    def stepped(self, step):
        pass

    def finished_epoch(self, record):
        pass


class Killed(BaseException):
    """Stands for the end of the process; nothing may catch it."""


class KillsInStep(Silent):
    def __init__(self, step):
        self.step = step

    def stepped(self, step):
        if step.number == self.step:
            raise Killed


@pytest.fixture(scope="module")
def prepared(dataset, tmp_path_factory):
    return prepare(dataset, tmp_path_factory.mktemp("prepared"), RECIPE.input_size, Silent())


@pytest.fixture(scope="module")
def finished(dataset, tmp_path_factory):
    """A whole run; gives its folder and its artifact."""
    out = tmp_path_factory.mktemp("run")
    return out, train_model(dataset, out, RECIPE, OPTIONS, Silent())


def test_a_run_killed_in_an_epoch_ends_like_one_that_was_not(prepared, finished, tmp_path):
    whole = RunState.read(finished[0] / CHECKPOINT)
    steps_per_epoch = len(prepared.split[Side.TRAIN]) // RECIPE.batch
    assert len(whole.history) == RECIPE.epochs
    with pytest.raises(Killed):
        fit(prepared, tmp_path, RECIPE, KillsInStep(steps_per_epoch + 2), pretrained=False)
    assert len(RunState.read(tmp_path / CHECKPOINT).history) == 1

    fit(prepared, tmp_path, RECIPE, Silent(), pretrained=False)

    resumed = RunState.read(tmp_path / CHECKPOINT)
    assert resumed.tensors.keys() == whole.tensors.keys()
    for name, tensor in whole.tensors.items():
        np.testing.assert_array_equal(resumed.tensors[name], tensor, err_msg=name)


def test_training_learns_what_can_be_seen(finished):
    metrics = finished[1].manifest.metrics

    assert metrics.macro_auroc > 0.8  # each class has a colour of its own; chance is 0.5
    assert metrics.bma_interval[0] <= metrics.bma <= metrics.bma_interval[1]


def test_the_report_shows_how_chance_moves_the_figure(finished):
    report = json.loads(finished[1].read(REPORT))

    assert report["bma_on_other_sides"].keys() == {"validation", "calibration"}
    (run,) = report["runs"]
    assert [record["epoch"] for record in run["history"]] == [1, 2, 3]


def test_it_is_calibrated_on_the_calibration_side_and_reported_on_the_test_side(prepared, finished):
    manifest = finished[1].manifest
    network = build(manifest.network.name, manifest.network.parameters)
    load_weights(network, finished[1].read(WEIGHTS))

    calibrating = prepared.answers(Predictor(network), Side.CALIBRATION)
    chosen = calibrate(calibrating, manifest.prior.natural).thresholds

    assert manifest.thresholds.urgent.value == pytest.approx(chosen.urgent.value, rel=1e-3)
    assert manifest.thresholds.soon.value == pytest.approx(chosen.soon.value, rel=1e-3)
    assert json.loads(finished[1].read(REPORT))["n"] == len(prepared.split[Side.TEST])


def test_the_artifact_brings_its_report_as_a_page(finished):
    _, artifact = finished

    assert f"{artifact.manifest.metrics.bma:.3f}" in artifact.read(REPORT_PAGE).decode()


def test_the_artifact_passes_the_checks_of_a_worker(finished):
    out, artifact = finished

    again = read_artifact(out / ARTIFACT, expected_digest=artifact.digest, verify_key=None)

    assert again.manifest.training.epochs == 3
    assert again.manifest.training.data == "painted discs: 112 images of 84 lesions"
    assert again.manifest.prior.natural == pytest.approx([1 / 7] * 7)


def test_the_artifact_turns_strange_pictures_away_and_says_what_it_promises(finished):
    _, artifact = finished
    detector, manifest = read_detector(artifact), artifact.manifest

    assert detector.mean.shape == (len(detector.directions),)
    assert manifest.out_of_distribution.lesions == json.loads(artifact.read(REPORT))["promises"]["lesions"]
    assert sum(group.lesions for group in manifest.conformal.groups) == manifest.out_of_distribution.lesions


def test_the_weights_in_the_artifact_give_the_golden_logits(finished):
    _, artifact = finished
    network = build(artifact.manifest.network.name, artifact.manifest.network.parameters)
    load_weights(network, artifact.read(WEIGHTS))

    with np.load(artifact.folder / GOLDEN, allow_pickle=False) as golden:
        np.testing.assert_allclose(network(golden["images"])["logits"], golden["logits"], atol=1e-4)


def test_openvino_gives_the_golden_logits_and_names_its_outputs(finished):
    _, artifact = finished
    core = openvino.Core()
    model = core.read_model(artifact.read(OPENVINO_XML), artifact.read(OPENVINO_BIN))
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    with np.load(artifact.folder / GOLDEN, allow_pickle=False) as golden:
        outputs = compiled(golden["images"])

        np.testing.assert_allclose(outputs["logits"], golden["logits"], atol=1e-4)
    assert outputs["embedding"].shape == (8, 256)
    assert outputs["cam"].shape == (8, 2, 2, 7)
    assert model.input().partial_shape.to_string() == "[?,32,32,3]"


def test_the_card_says_what_the_model_cannot_know(finished):
    card = finished[1].read(CARD).decode()

    for words in (
        "no squamous-cell class",
        "mostly light skin",
        "CC BY-NC 4.0",
        "research only",
        "never the sole basis",
    ):
        assert words in card


def test_a_second_run_does_not_overwrite_a_first(dataset, finished):
    with pytest.raises(RunExists, match="--resume"):
        train_model(dataset, finished[0], RECIPE, OPTIONS, Silent())


def test_a_run_does_not_go_on_with_another_recipe(prepared, finished):
    with pytest.raises(UnreadableCheckpoint, match=r"epochs=3\. Received: epochs=9"):
        fit(prepared, finished[0], replace(RECIPE, epochs=9), Silent(), pretrained=False)


def test_a_run_does_not_go_on_with_other_images(dataset, finished, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(dataset, other)
    metadata = other / "HAM10000_metadata.csv"
    metadata.write_text("\n".join(metadata.read_text().splitlines()[:-1]))

    with pytest.raises(RunExists, match="on other images"):
        train_model(other, finished[0], RECIPE, replace(OPTIONS, resume=True), Silent())


@pytest.mark.parametrize(("averaging", "at_a_distance"), [(0.995, True), (0.0, False)])
def test_the_result_follows_the_weights_at_a_distance(averaging, at_a_distance):
    rng = np.random.default_rng(14)
    pixels, labels = rng.integers(0, 256, (32, 32, 32, 3), dtype=np.uint8), np.arange(32) % 7
    trainer = Trainer(replace(RECIPE, averaging=averaging), labels, np.arange(32))
    trainer.run_epoch(pixels, lambda step: None)
    trainer.finish_epoch({"validation_loss": 1.0})
    trainer.take_best()

    pairs = zip(trainer.averaged.get_weights(), trainer.network.get_weights(), strict=True)
    assert any(not np.allclose(slow, fast, atol=1e-6) for slow, fast in pairs) is at_a_distance


def test_weight_decay_pulls_at_kernels_alone():
    trainer = Trainer(RECIPE, np.arange(32) % 7, np.arange(32))
    variables = trainer.network.trainable_variables
    before = [variable.numpy() for variable in variables]

    trainer.optimizer.apply([np.zeros_like(value) for value in before], variables)

    pulled = {
        variable.name
        for variable, value in zip(variables, before, strict=True)
        if not np.array_equal(variable.numpy(), value)
    }
    assert pulled == {"kernel"}


@pytest.mark.long
def test_the_shipped_architecture_trains_twice_to_the_same_weights():
    rng = np.random.default_rng(13)
    pixels, labels = rng.integers(0, 256, (96, 96, 96, 3), dtype=np.uint8), rng.integers(0, 7, 96)
    trainers = [Trainer(Recipe(input_size=96, epochs=1), labels, np.arange(96)) for _ in range(2)]
    for trainer in trainers:
        trainer.run_epoch(pixels, lambda step: None)

    for first, second in zip(*(trainer.averaged.get_weights() for trainer in trainers), strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_damaged_checkpoint_is_named(prepared, tmp_path):
    (tmp_path / CHECKPOINT).write_bytes(b"half a file")

    with pytest.raises(UnreadableCheckpoint, match=CHECKPOINT):
        fit(prepared, tmp_path, RECIPE, Silent(), pretrained=False)


def test_a_loss_that_is_no_number_stops_the_run_without_an_artifact(dataset, tmp_path):
    with pytest.raises(TrainingDiverged, match="Expected a finite loss"):
        train_model(dataset, tmp_path, replace(RECIPE, peak_rate=float("nan")), OPTIONS, Silent())

    assert not (tmp_path / ARTIFACT).exists()


def test_a_run_stops_when_validation_grows_no_better_and_gives_its_best_epoch(prepared, tmp_path):
    hopeless = replace(RECIPE, epochs=9, patience=2, peak_rate=1e-9, averaging=0.0)

    trainer = fit(prepared, tmp_path, hopeless, Silent(), pretrained=False)

    losses = [record["validation_loss"] for record in trainer.history]
    assert len(losses) - 1 - int(np.argmin(losses)) == 2
    assert len(losses) < 9
    answers = prepared.answers(trainer.predict, Side.VALIDATION)
    assert balanced_log_loss(answers.truth, answers.logits) == pytest.approx(min(losses))
