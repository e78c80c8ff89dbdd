"""One training run in one folder: data, split, epochs; started again, it goes on where it was."""

import hashlib
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from dermabatch.artifacts import Artifact, Network
from dermabatch.artifacts import Training as TrainedOn
from dermabatch.imaging.preprocess import preprocess
from dermabatch.imaging.synthetic import lesion_image
from dermabatch.taxonomy import CLASSES
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
from training.imagenet_weights import imagenet_checkpoint, load_imagenet_weights, read_legacy_checkpoint
from training.metrics import balanced_accuracy, lesion_weights
from training.split import Side, Split, split_by_lesion, split_table
from training.train import Recipe, StepDone, Training

CHECKPOINT: Final = "checkpoint.safetensors"
ARTIFACT: Final = "model"
GOLDEN_IMAGES: Final = 8


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
    training = fit(prepared, out, recipe, watcher, pretrained=options.pretrained)
    return finish(prepared, training, out, options)


def prepare(data: Path, out: Path, recipe: Recipe, watcher: Watcher) -> Prepared:
    """Read, check, divide and decode the data set in the folder `data`; the split is written to `out`.

    Raises:
        UnusableData: see `training.data` and `training.split`.
        RunExists: `out` holds a run on other images.
    """
    samples = read_samples(data)
    split = split_by_lesion(samples, recipe.seed)
    table = split_table(samples, split)
    _write_split(table, out)
    pixels = load_pixels(
        samples, recipe.input_size, out / "cache", lambda done: watcher.decoded(done, len(samples))
    )
    return Prepared(samples, labels_of(samples), pixels, split, hashlib.sha256(table.encode()).hexdigest())


def _write_split(table: str, out: Path) -> None:
    path = out / "split.csv"
    if (out / CHECKPOINT).exists() and path.read_text(encoding="utf-8") != table:
        raise RunExists(f"The run in {out} is on other images than these. Go on with the same, or elsewhere.")
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(table, encoding="utf-8")


def fit(prepared: Prepared, out: Path, recipe: Recipe, watcher: Watcher, *, pretrained: bool) -> Training:
    """Train to the last epoch of `recipe`, from the checkpoint in `out` where there is one.

    Raises:
        TrainingDiverged: the loss is not finite; the checkpoint of the last good epoch stays.
        UnreadableCheckpoint: the checkpoint is damaged or of another recipe.
    """
    training = resume(prepared, out, recipe)
    if not training.history and pretrained:
        state = read_legacy_checkpoint(imagenet_checkpoint(recipe.network))
        training.start_from(lambda network: load_imagenet_weights(network, state))
    while len(training.history) < recipe.epochs:
        started = time.monotonic()
        loss = training.run_epoch(
            prepared.pixels, prepared.labels, prepared.split[Side.TRAIN], watcher.stepped
        )
        validation = prepared.split[Side.VALIDATION]
        logits = training.predict(prepared.pixels, validation)
        record = {
            "epoch": float(len(training.history) + 1),
            "loss": loss,
            "validation_bma": balanced_accuracy(prepared.labels[validation], logits),
            "seconds": time.monotonic() - started,
        }
        training.history.append(record)
        training.state().write(out / CHECKPOINT)
        watcher.finished_epoch(record)
    return training


def resume(prepared: Prepared, out: Path, recipe: Recipe) -> Training:
    """The run in `out` as its last checkpoint left it, or a fresh one."""
    train = prepared.split[Side.TRAIN]
    prior = np.bincount(prepared.labels[train], minlength=len(CLASSES)) / len(train)
    training = Training(recipe, len(train), prior)
    if (out / CHECKPOINT).exists():
        training.restore(RunState.read(out / CHECKPOINT))
    return training


def finish(prepared: Prepared, training: Training, out: Path, options: Options) -> Artifact:
    """Calibrate and evaluate the averaged network of `training`, and write the artifact to `out`/model.

    Raises:
        UnusableData: no threshold reaches its target.
        EnginesDisagree: the exported files answer differently from the network.
    """
    recipe, samples, split = training.recipe, prepared.samples, prepared.split
    lesions = np.array([sample.lesion_id for sample in samples])
    calibration_side, test_side = split[Side.CALIBRATION], split[Side.TEST]
    calibration = calibrate(
        prepared.labels[calibration_side],
        training.predict(prepared.pixels, calibration_side),
        lesion_weights(lesions[calibration_side]),
        tuple(lesion_frequencies(samples).tolist()),
    )
    report = evaluate(
        prepared.labels[test_side],
        training.predict(prepared.pixels, test_side),
        lesions[test_side],
        calibration,
        recipe.seed,
    )
    trained_on = TrainedOn(
        data=f"{options.data_name}: {len(samples):,} images of {len(set(lesions)):,} lesions",
        data_digest=data_digest(samples, prepared.pixels),
        split_digest=prepared.split_digest,
        images=len(split[Side.TRAIN]),
        epochs=len(training.history),
        seed=recipe.seed,
        seconds=sum(record["seconds"] for record in training.history),
    )
    return write_artifact(
        out / ARTIFACT,
        name=options.name,
        network=training.averaged,
        about=Network(name=recipe.network, parameters=dict(recipe.parameters)),
        training=trained_on,
        calibration=calibration,
        report={**report, "recipe": asdict(recipe), "history": training.history},
        golden_images=np.stack(
            [preprocess(lesion_image(seed), recipe.input_size) for seed in range(GOLDEN_IMAGES)]
        ),
    )
