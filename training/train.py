"""Fine-tunes a network on one side of a split, and can be killed at any moment.

After every epoch the whole state of the run is written in one atomic step; started again, the run goes on
from there and ends with the same weights as a run that was never stopped.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from dermabatch.networks import build
from dermabatch.taxonomy import CLASSES
from training.checkpoint import RunState
from training.data import Pixels
from training.errors import TrainingDiverged
from training.fused_norm import trainable_copy
from training.imbalance import Imbalance, categorical_cross_entropy
from training.predict import Predictor
from training.recipe import Recipe, learning_rate
from training.sampling import Positions, balanced_order, batches, epoch_order

BEST: Final = "best/"

Weights = list[npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class StepDone:
    """Where a run stands after a step; `number` counts from 1 over all epochs."""

    number: int
    steps: int
    loss: float


@dataclass(frozen=True, slots=True)
class EpochDone:
    """Means over one epoch of augmented views."""

    loss: float
    accuracy: float


Report = Callable[[StepDone], None]


def compute_reproducibly() -> None:
    """Let TensorFlow run one operation at a time, each on all cores. Call it before anything is computed.

    Side by side they are not reproducible: AddN, which sums the parts of a gradient, adds them in the order in
    which their buffers come free, so that the last bits, and soon the weights, differ from run to run.
    """
    tf.config.threading.set_inter_op_parallelism_threads(1)


class Trainer:
    """One run: the network, its slow average, the best average so far, and the optimizer.

    `averaged` is the result: its weights, moving statistics too, follow those of `network` at a distance.
    """

    def __init__(self, recipe: Recipe, labels: npt.NDArray[np.int64], positions: Positions) -> None:
        """Prepare a run over the images at `positions`, whose classes are `labels`, int64[N] for all images."""
        keras.utils.set_random_seed(recipe.seed)
        self.recipe = recipe
        self.labels = labels
        self.positions = positions
        self.averaged = build(recipe.network, recipe.parameters)
        self.network = trainable_copy(self.averaged)
        self.network.set_weights(self.averaged.get_weights())
        self.best: Weights = self.averaged.get_weights()
        self.steps_per_epoch = len(self._order(0)) // recipe.batch
        self.optimizer = keras.optimizers.AdamW(recipe.peak_rate, weight_decay=recipe.weight_decay)
        self.optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
        self.optimizer.build(self.network.trainable_variables)
        prior = np.bincount(labels[self._order(0)], minlength=len(CLASSES)) / len(self._order(0))
        self.loss = categorical_cross_entropy(recipe.imbalance, prior)
        self.history: list[dict[str, float]] = []
        self._step = tf.function(self._train_step, reduce_retracing=True)
        self.predict = Predictor(self.averaged)

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.steps_per_epoch * self.recipe.epochs

    def start_from(self, fill: Callable[[keras.Model], None]) -> None:
        """Let `fill` put pretrained weights into the network; the average starts there too."""
        fill(self.averaged)
        self.network.set_weights(self.averaged.get_weights())

    def _order(self, epoch: int) -> Positions:
        random = np.random.default_rng((self.recipe.seed, epoch))
        order = epoch_order(
            self.labels, self.positions, most_per_class=self.recipe.most_per_class, random=random
        )
        if self.recipe.imbalance is Imbalance.BALANCED_SAMPLING:
            return balanced_order(self.labels, order, random)
        return order

    def run_epoch(self, pixels: Pixels, report: Report) -> EpochDone:
        """Train one epoch on `pixels`, uint8[N, S, S, 3] of all images.

        Raises:
            TrainingDiverged: a loss that is not a finite number.
        """
        recipe, epoch = self.recipe, len(self.history)
        views = batches(
            pixels,
            self.labels,
            self._order(epoch),
            batch=recipe.batch,
            size=recipe.view_size(epoch),
            strength=recipe.augmentation,
            seed=(recipe.seed, epoch),
        )
        losses, shares = [], []
        for number, (images, truth) in enumerate(views):
            step = epoch * self.steps_per_epoch + number
            self.optimizer.learning_rate = learning_rate(recipe, step, self.steps)
            loss, right = self._step(images, truth, tf.constant(self._averaging(step), tf.float32))
            if not math.isfinite(loss):
                raise TrainingDiverged(
                    f"Expected a finite loss. Received: {float(loss)} in step {step + 1} of {self.steps}, "
                    f"epoch {epoch + 1}. The last checkpoint is good; start anew with a lower --rate."
                )
            losses.append(float(loss))
            shares.append(float(right))
            report(StepDone(step + 1, self.steps, losses[-1]))
        return EpochDone(float(np.mean(losses)), float(np.mean(shares)))

    def _averaging(self, step: int) -> float:
        """Early on the average is short, so that the untrained classifier does not weigh in it for long."""
        return min(self.recipe.averaging, (1 + step) / (10 + step))

    def _train_step(self, images: Any, truth: Any, decay: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            logits = self.network(images, training=True)["logits"]
            loss = self.loss(truth, logits)
        weights = self.network.trainable_variables
        self.optimizer.apply(tape.gradient(loss, [weight.value for weight in weights]), weights)
        for slow, fast in zip(self.averaged.weights, self.network.weights, strict=True):
            slow.assign_add((1 - decay) * (fast.value - slow.value))
        right = tf.reduce_mean(tf.cast(tf.argmax(logits, axis=1) == truth, tf.float32))
        return loss, right

    def finish_epoch(self, record: dict[str, float]) -> None:
        """Note what the epoch came to, and keep the average if its `validation_loss` is the lowest so far."""
        if all(record["validation_loss"] < earlier["validation_loss"] for earlier in self.history):
            self.best = self.averaged.get_weights()
        self.history.append(record)

    @property
    def finished(self) -> bool:
        """Every epoch is done, or the last `patience` of them brought no lower validation loss."""
        losses = [record["validation_loss"] for record in self.history]
        return len(losses) >= self.recipe.epochs or bool(
            losses and len(losses) - 1 - int(np.argmin(losses)) >= self.recipe.patience
        )

    def take_best(self) -> None:
        """Make the average of the epoch with the lowest validation loss the result."""
        self.averaged.set_weights(self.best)

    def state(self) -> RunState:
        """Everything that a resumed run needs."""
        tensors = {name: np.copy(variable.numpy(), order="C") for name, variable in self._named_variables()}
        best = {f"{BEST}{number}": weight for number, weight in enumerate(self.best)}
        return RunState(asdict(self.recipe), self.history, tensors | best)

    def restore(self, state: RunState) -> None:
        """Go on from `state`.

        Raises:
            UnreadableCheckpoint: it is the state of another recipe.
        """
        state.check_recipe(asdict(self.recipe))
        for name, variable in self._named_variables():
            variable.assign(state.tensors[name])
        self.best = best_weights(state)
        self.history = list(state.history)

    def _named_variables(self) -> Iterator[tuple[str, Any]]:
        """All state, with the generator behind dropout; numbered, because Keras counts its names up."""
        for group in ("network", "averaged", "optimizer"):
            for number, variable in enumerate(getattr(self, group).variables):
                yield f"{group}/{number}", variable


def best_weights(state: RunState) -> Weights:
    """Weights of the best average of a run so far, in the order of its network."""
    numbers = range(sum(name.startswith(BEST) for name in state.tensors))
    return [state.tensors[f"{BEST}{number}"].astype(np.float32) for number in numbers]
