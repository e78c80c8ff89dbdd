"""From a trained network to the artifact that serves it: calibration, strangeness, fusion, and the report."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import keras
import numpy as np

from dermabatch.artifacts import Artifact
from dermabatch.imaging.preprocess import preprocess
from dermabatch.imaging.synthetic import lesion_image
from dermabatch.manifest import Network, Training
from training.answers import Answers
from training.artifact import with_report, write_artifact
from training.calibrate import calibrate
from training.checkpoint import RunState
from training.data import data_digest, lesion_frequencies
from training.errors import RunExists
from training.evaluate import evaluate
from training.fusion_gain import choose_fusion
from training.metrics import balanced_accuracy
from training.out_of_distribution import choose_limit, fit_detector
from training.predict import Predictor
from training.promises import promises
from training.recipe import Recipe
from training.report.explanations import explanations
from training.report.of_artifact import SEED, Effort, How, Images, report_data
from training.run import CHECKPOINT, Prepared, Watcher, fit, prepare
from training.split import Side

ARTIFACT: Final = "model"
GOLDEN_IMAGES: Final = 8
OTHER_SIDES: Final = (Side.VALIDATION, Side.CALIBRATION)
"""They shaped no weight either: how far their BMA lies from the test side's shows what chance does to it."""


@dataclass(frozen=True, slots=True)
class Options:
    """What an artifact is asked for besides the recipe of its network."""

    name: str
    data_name: str
    effort: Effort = Effort.QUICK
    """Of its report."""
    resume: bool = False
    pretrained: bool = True


@dataclass(frozen=True, slots=True)
class Trained:
    """A network with its final weights, and the runs they come from: more than one where they were averaged."""

    network: keras.Model
    about: Network
    runs: Sequence[RunState]


def train_model(data: Path, out: Path, recipe: Recipe, options: Options, watcher: Watcher) -> Artifact:
    """Train a network on the data set in `data`; the artifact is written to `out`/model.

    Raises:
        RunExists: `out` holds a run, and going on with it was not asked for.
        TrainingError: whatever else keeps a run from its end; see `training.errors`.
    """
    if (out / CHECKPOINT).exists() and not options.resume:
        raise RunExists(
            f"The folder {out} holds a run already. Use --resume to go on with it, or another folder."
        )
    prepared = prepare(data, out, recipe.input_size, watcher)
    trainer = fit(prepared, out, recipe, watcher, pretrained=options.pretrained)
    about = Network(name=recipe.network, parameters=dict(recipe.parameters))
    run = RunState(asdict(recipe), trainer.history, {})
    return finish(prepared, Trained(trainer.averaged, about, [run]), out, options, watcher)


def finish(prepared: Prepared, trained: Trained, out: Path, options: Options, watcher: Watcher) -> Artifact:
    """Calibrate a trained network and evaluate it once on the test side; the artifact is written to `out`/model.

    Raises:
        UnusableData: no threshold reaches its target, or a class has no image.
        EnginesDisagree: the exported files answer differently from the network.
    """
    with TemporaryDirectory(dir=out, prefix=".draft-") as scratch:
        draft = _draft(prepared, trained, Path(scratch) / ARTIFACT, options, watcher)
        test = Images(
            prepared.on(Side.TEST),
            {side.value: prepared.on(side) for side in Side if prepared.split[side].size},
            options.data_name,
            Side.TEST,
            prepared.split_digest,
        )
        report, _ = report_data(draft, test, How(options.effort), Path(scratch), watcher.working)
        if options.effort is not Effort.NONE:
            report["explanations"] = explanations(draft, test.samples, options.effort, watcher.working)
        return with_report(draft, report, out / ARTIFACT)


def _draft(
    prepared: Prepared, trained: Trained, folder: Path, options: Options, watcher: Watcher
) -> Artifact:
    """The artifact with the figures of the network itself, which its report takes over or measures again."""
    predict = Predictor(trained.network)
    answers = {side: prepared.answers(predict, side, watcher) for side in Side if side is not Side.LEFT_OUT}
    calibrating, test = answers[Side.CALIBRATION], answers[Side.TEST]
    calibration = calibrate(calibrating, tuple(lesion_frequencies(prepared.samples).tolist()))
    detector = fit_detector(answers[Side.TRAIN])
    development = Answers.joined([answers[side] for side in OTHER_SIDES])
    fusion, metadata_fusion = choose_fusion(prepared.on(Side.TRAIN), development, test, calibration, SEED)
    report = {
        **evaluate(test, calibration, SEED),
        "bma_on_other_sides": {
            side: balanced_accuracy(answers[side].truth, answers[side].logits) for side in OTHER_SIDES
        },
        "promises": promises(calibration, calibrating),
        "metadata_fusion": metadata_fusion,
        "runs": [{"recipe": run.recipe, "history": run.history} for run in trained.runs],
    }
    size = trained.network.input_shape[1]
    return write_artifact(
        folder,
        name=options.name,
        network=trained.network,
        about=trained.about,
        training=_provenance(prepared, trained.runs, options.data_name),
        calibration=calibration,
        detector=detector,
        out_of_distribution=choose_limit(detector, calibrating),
        fusion=fusion,
        report=report,
        golden_images=np.stack([preprocess(lesion_image(seed), size) for seed in range(GOLDEN_IMAGES)]),
    )


def _provenance(prepared: Prepared, runs: Sequence[RunState], data_name: str) -> Training:
    samples = prepared.samples
    lesions = {sample.lesion_id for sample in samples}
    history: list[dict[str, Any]] = [record for run in runs for record in run.history]
    return Training(
        data=f"{data_name}: {len(samples):,} images of {len(lesions):,} lesions",
        data_digest=data_digest(samples, prepared.pixels),
        split_digest=prepared.split_digest,
        images=len(prepared.split[Side.TRAIN]),
        epochs=len(history),
        seeds=tuple(run.recipe["seed"] for run in runs),
        seconds=sum(record["seconds"] for record in history),
    )
