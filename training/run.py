"""One training run in one folder: data, split, epochs; started again, it goes on where it was."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from training.answers import Answers
from training.checkpoint import RunState
from training.data import Pixels, Sample, labels_of, load_pixels, read_samples
from training.errors import RunExists
from training.imagenet_weights import load_imagenet_weights
from training.metrics import balanced_accuracy, balanced_log_loss, hits
from training.near_duplicates import AUDIT_SIZE
from training.predict import Predictor
from training.recipe import Recipe
from training.split import SPLIT_SEED, Side, Split, divide, split_digest, split_table
from training.train import StepDone, Trainer

CHECKPOINT: Final = "checkpoint.safetensors"
SPLIT: Final = "split.csv"


class Watcher(Protocol):
    """Hears how a run goes on; the command line draws bars from it."""

    def working(self, work: str, done: int, total: int) -> None:
        """`done` of `total` pieces of some other work are done: decoding, asking, measuring."""

    def stepped(self, step: StepDone) -> None:
        """A training step ended."""

    def finished_epoch(self, record: dict[str, float]) -> None:
        """An epoch ended and its state is on the disk."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A data set, divided and decoded."""

    samples: list[Sample]
    labels: npt.NDArray[np.int64]
    pixels: Pixels
    split: Split
    split_digest: str

    def on(self, side: Side) -> list[Sample]:
        """The images of one side."""
        return [self.samples[position] for position in self.split[side]]

    def answers(self, predict: Predictor, side: Side, watcher: Watcher | None = None) -> Answers:
        """What a network says of the images of one side."""
        positions = self.split[side]

        def progress(done: int) -> None:
            if watcher is not None:
                watcher.working(f"asking, {side} side", done, len(positions))

        return Answers(self.on(side), *predict(self.pixels, positions, progress))


def prepare(data: Path, out: Path, input_size: int, watcher: Watcher) -> Prepared:
    """Read, check, divide and decode the data set in the folder `data`; the split is written to `out`.

    Raises:
        UnusableData: see `training.data` and `training.split`.
        RunExists: `out` holds a run on other images.
    """
    samples = read_samples(data)

    def decoded_at(size: int) -> Pixels:
        def progress(done: int) -> None:
            watcher.working(f"decoding, {size} px", done, len(samples))

        return load_pixels(samples, size, out / "cache", progress)

    split, _ = divide(samples, SPLIT_SEED, decoded_at(AUDIT_SIZE))
    table = split_table(samples, split)
    _write_split(table, out)
    return Prepared(samples, labels_of(samples), decoded_at(input_size), split, split_digest(table))


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
        answers = prepared.answers(trainer.predict, Side.VALIDATION)
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
