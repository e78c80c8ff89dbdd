"""One training run in one folder: data, split, epochs; started again, it goes on where it was."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from dermabatch.artifacts import Artifact
from dermabatch.imaging.preprocess import preprocess
from dermabatch.imaging.synthetic import lesion_image
from dermabatch.manifest import Network, Training
from training.answers import Answers
from training.artifact import write_artifact
from training.calibrate import calibrate
from training.checkpoint import RunState
from training.data import (
    Pixels,
    Sample,
    data_digest,
    labels_of,
    lesion_frequencies,
    load_pixels,
    read_samples,
)
from training.errors import RunExists
from training.evaluate import evaluate
from training.fusion_gain import choose_fusion
from training.imagenet_weights import load_imagenet_weights
from training.metrics import balanced_accuracy, balanced_log_loss, hits
from training.near_duplicates import AUDIT_SIZE
from training.out_of_distribution import choose_limit, fit_detector
from training.promises import promises
from training.recipe import Recipe
from training.split import SPLIT_SEED, Side, Split, divide, split_digest, split_table
from training.train import StepDone, Trainer

CHECKPOINT: Final = "checkpoint.safetensors"
ARTIFACT: Final = "model"
SPLIT: Final = "split.csv"
GOLDEN_IMAGES: Final = 8
OTHER_SIDES: Final = (Side.VALIDATION, Side.CALIBRATION)
"""They shaped no weight either: how far their BMA lies from the test side's shows what chance does to it."""


class Watcher(Protocol):
    """Hears how a run goes on; the command line draws a bar from it."""

    def decoded(self, done: int, images: int) -> None:
        """`done` of `images` pictures are decoded."""

    def stepped(self, step: StepDone) -> None:
        """A training step ended."""

    def finished_epoch(self, record: dict[str, float]) -> None:
        """An epoch ended and its state is on the disk."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a run is asked for besides its recipe."""

    name: str
    data_name: str
    resume: bool = False
    pretrained: bool = True


@dataclass(frozen=True, slots=True)
class Prepared:
    """A data set, divided and decoded."""

    samples: list[Sample]
    labels: npt.NDArray[np.int64]
    pixels: Pixels
    split: Split
    split_digest: str


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
    prepared = prepare(data, out, recipe, watcher)
    trainer = fit(prepared, out, recipe, watcher, pretrained=options.pretrained)
    return finish(prepared, trainer, out, options)


def prepare(data: Path, out: Path, recipe: Recipe, watcher: Watcher) -> Prepared:
    """Read, check, divide and decode the data set in the folder `data`; the split is written to `out`.

    Raises:
        UnusableData: see `training.data` and `training.split`.
        RunExists: `out` holds a run on other images.
    """
    samples = read_samples(data)

    def decoded_at(size: int) -> Pixels:
        return load_pixels(samples, size, out / "cache", lambda done: watcher.decoded(done, len(samples)))

    split, _ = divide(samples, SPLIT_SEED, decoded_at(AUDIT_SIZE))
    table = split_table(samples, split)
    _write_split(table, out)
    pixels = decoded_at(recipe.input_size)
    return Prepared(samples, labels_of(samples), pixels, split, split_digest(table))


def _write_split(table: str, out: Path) -> None:
    path = out / SPLIT
    if (out / CHECKPOINT).exists() and path.read_text(encoding="utf-8") != table:
        raise RunExists(f"The run in {out} is on other images than these. Go on with the same, or elsewhere.")
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(table, encoding="utf-8")


def fit(prepared: Prepared, out: Path, recipe: Recipe, watcher: Watcher, *, pretrained: bool) -> Trainer:
    """Train to the last epoch of `recipe`, from the checkpoint in `out` where there is one.

    Raises:
        TrainingDiverged: the loss is not finite; the checkpoint of the last good epoch stays.
        UnreadableCheckpoint: the checkpoint is damaged or of another recipe.
    """
    trainer = resume(prepared, out, recipe)
    if not trainer.history and pretrained:
        trainer.start_from(lambda network: load_imagenet_weights(network, recipe.network))
    while not trainer.finished:
        started = time.monotonic()
        done = trainer.run_epoch(prepared.pixels, watcher.stepped)
        answers = answers_of(prepared, trainer, Side.VALIDATION)
        record = {
            "epoch": float(len(trainer.history) + 1),
            "loss": done.loss,
            "accuracy": done.accuracy,
            "validation_loss": balanced_log_loss(answers.truth, answers.logits),
            "validation_accuracy": float(hits(answers.truth, answers.logits).mean()),
            "validation_bma": balanced_accuracy(answers.truth, answers.logits),
            "seconds": time.monotonic() - started,
        }
        trainer.finish_epoch(record)
        trainer.state().write(out / CHECKPOINT)
        watcher.finished_epoch(record)
    trainer.take_best()
    return trainer


def resume(prepared: Prepared, out: Path, recipe: Recipe) -> Trainer:
    """The run in `out` as its last checkpoint left it, or a fresh one."""
    trainer = Trainer(recipe, prepared.labels, prepared.split[Side.TRAIN])
    if (out / CHECKPOINT).exists():
        trainer.restore(RunState.read(out / CHECKPOINT))
    return trainer


def finish(prepared: Prepared, trainer: Trainer, out: Path, options: Options) -> Artifact:
    """Calibrate and evaluate the averaged network of `trainer`, and write the artifact to `out`/model.

    Raises:
        UnusableData: no threshold reaches its target.
        EnginesDisagree: the exported files answer differently from the network.
    """
    recipe = trainer.recipe
    prior = tuple(lesion_frequencies(prepared.samples).tolist())
    calibrating = answers_of(prepared, trainer, Side.CALIBRATION)
    calibration = calibrate(calibrating, prior)
    detector = fit_detector(answers_of(prepared, trainer, Side.TRAIN))
    test = answers_of(prepared, trainer, Side.TEST)
    trained_on = [prepared.samples[position] for position in prepared.split[Side.TRAIN]]
    development = Answers.joined([answers_of(prepared, trainer, Side.VALIDATION), calibrating])
    fusion, metadata_fusion = choose_fusion(trained_on, development, test, calibration, recipe.seed)
    report = {
        **evaluate(test, calibration, recipe.seed),
        "bma_on_other_sides": {side: _bma(prepared, trainer, side) for side in OTHER_SIDES},
        "promises": promises(calibration, calibrating),
        "metadata_fusion": metadata_fusion,
        "recipe": asdict(recipe),
        "history": trainer.history,
    }
    return write_artifact(
        out / ARTIFACT,
        name=options.name,
        network=trainer.averaged,
        about=Network(name=recipe.network, parameters=dict(recipe.parameters)),
        training=_provenance(prepared, trainer, options.data_name),
        calibration=calibration,
        detector=detector,
        out_of_distribution=choose_limit(detector, calibrating),
        fusion=fusion,
        report=report,
        golden_images=np.stack(
            [preprocess(lesion_image(seed), recipe.input_size) for seed in range(GOLDEN_IMAGES)]
        ),
    )


def answers_of(prepared: Prepared, trainer: Trainer, side: Side) -> Answers:
    """What the averaged network of `trainer` says of the images of one side."""
    positions = prepared.split[side]
    logits, embedding = trainer.predict(prepared.pixels, positions)
    return Answers([prepared.samples[position] for position in positions], logits, embedding)


def _bma(prepared: Prepared, trainer: Trainer, side: Side) -> float:
    answers = answers_of(prepared, trainer, side)
    return balanced_accuracy(answers.truth, answers.logits)


def _provenance(prepared: Prepared, trainer: Trainer, data_name: str) -> Training:
    samples = prepared.samples
    lesions = {sample.lesion_id for sample in samples}
    return Training(
        data=f"{data_name}: {len(samples):,} images of {len(lesions):,} lesions",
        data_digest=data_digest(samples, prepared.pixels),
        split_digest=prepared.split_digest,
        images=len(prepared.split[Side.TRAIN]),
        epochs=len(trainer.history),
        seed=trainer.recipe.seed,
        seconds=sum(record["seconds"] for record in trainer.history),
    )
