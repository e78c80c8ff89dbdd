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
from training.augment import training_batches
from training.checkpoint import RunState
from training.data import Pixels
from training.errors import TrainingDiverged

PREDICT_BATCH: Final = 64


@dataclass(frozen=True, slots=True)
class Recipe:
    """Every number of a run. Two runs of one recipe on the same data and machine give the same weights."""

    network: str = "efficientnet_lite0"  # 5 ms an image on one CPU core; the night shift counts on that
    input_size: int = 224  # the size lite0 was designed for
    epochs: int = 6  # about 40 minutes on two free cores; 10 and 12 epochs differed by less than noise
    batch: int = 32  # smaller ones make the batch statistics of rare classes noisy, larger ones cost steps
    peak_rate: float = 8e-4  # 1e-3 and 6e-4 were equal within noise
    warm_up: float = 0.1  # share of all steps; the new classifier must not wreck pretrained features
    weight_decay: float = 0.02  # on kernels only: norms and biases have no scale to hold down
    averaging: float = 0.995  # over about 200 steps; single epochs swing by several points of BMA
    tau: float = 1.0  # strength of the logit adjustment; 1 makes plain logits stand for a balanced prior
    seed: int = 20180707

    @property
    def parameters(self) -> dict[str, int]:
        """What `dermabatch.networks.build` needs besides the name."""
        return {"input_size": self.input_size, "classes": len(CLASSES)}


@dataclass(frozen=True, slots=True)
class StepDone:
    """Where a run stands after a step; `number` counts from 1 over all epochs."""

    number: int
    steps: int
    loss: float


Report = Callable[[StepDone], None]


def compute_reproducibly() -> None:
    """Let TensorFlow run one operation at a time, each on all cores. Call it before anything is computed.

    Side by side they are not reproducible: AddN, which sums the parts of a gradient, adds them in the order in
    which their buffers come free, so that the last bits, and soon the weights, differ from run to run.
    """
    tf.config.threading.set_inter_op_parallelism_threads(1)


class Trainer:
    """One run: the network, its slow average, and its optimizer.

    `averaged` is the result: its weights, moving statistics too, follow those of `network` at a distance.
    """

    def __init__(self, recipe: Recipe, images: int, prior: npt.NDArray[np.float64]) -> None:
        """Prepare a run over `images` images whose classes have the frequencies `prior`, float64[7]."""
        keras.utils.set_random_seed(recipe.seed)
        self.recipe = recipe
        self.network = build(recipe.network, recipe.parameters)
        self.averaged = build(recipe.network, recipe.parameters)
        self.averaged.set_weights(self.network.get_weights())
        self.steps_per_epoch = images // recipe.batch
        self.optimizer = keras.optimizers.AdamW(recipe.peak_rate, weight_decay=recipe.weight_decay)
        self.optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
        self.optimizer.build(self.network.trainable_variables)
        # The one correction for imbalance. Menon et al., "Long-tail learning via logit adjustment" (ICLR 2021).
        self.adjustment = tf.constant(recipe.tau * np.log(prior), tf.float32)
        self.history: list[dict[str, float]] = []
        square = tf.TensorSpec((None, recipe.input_size, recipe.input_size, 3), tf.uint8)
        self._step = tf.function(self._train_step)
        self._logits = tf.function(
            lambda images: self.averaged(images, training=False)["logits"], input_signature=[square]
        )

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.steps_per_epoch * self.recipe.epochs

    def start_from(self, fill: Callable[[keras.Model], None]) -> None:
        """Let `fill` put pretrained weights into the network; the average starts there too."""
        fill(self.network)
        self.averaged.set_weights(self.network.get_weights())

    def run_epoch(
        self, pixels: Pixels, labels: npt.NDArray[np.int64], positions: npt.NDArray[np.int64], report: Report
    ) -> float:
        """Train one epoch; returns its mean loss.

        Raises:
            TrainingDiverged: a loss that is not a finite number.
        """
        recipe, epoch = self.recipe, len(self.history)
        batches = training_batches(
            pixels, labels, positions, batch=recipe.batch, seed=recipe.seed, epoch=epoch
        )
        losses = []
        for number, (images, truth) in enumerate(batches):
            step = epoch * self.steps_per_epoch + number
            self.optimizer.learning_rate = learning_rate(recipe, step, self.steps)
            loss = float(self._step(images, truth, tf.constant(self._averaging(step), tf.float32)))
            if not math.isfinite(loss):
                raise TrainingDiverged(
                    f"Expected a finite loss. Received: {loss} in step {step + 1} of {self.steps}."
                )
            losses.append(loss)
            report(StepDone(step + 1, self.steps, loss))
        return float(np.mean(losses))

    def _averaging(self, step: int) -> float:
        """Early on the average is short, so that the untrained classifier does not weigh in it for long."""
        return min(self.recipe.averaging, (1 + step) / (10 + step))

    def _train_step(self, images: Any, truth: Any, decay: Any) -> Any:
        with tf.GradientTape() as tape:
            logits = self.network(images, training=True)["logits"] + self.adjustment
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(truth, logits))
        weights = self.network.trainable_variables
        self.optimizer.apply(tape.gradient(loss, [weight.value for weight in weights]), weights)
        for slow, fast in zip(self.averaged.weights, self.network.weights, strict=True):
            slow.assign_add((1 - decay) * (fast.value - slow.value))
        return loss

    def predict(self, pixels: Pixels, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Logits of the averaged network for the images at `positions`, float32[N, 7]."""
        chunks = [
            positions[start : start + PREDICT_BATCH] for start in range(0, len(positions), PREDICT_BATCH)
        ]
        return np.concatenate([self._logits(np.ascontiguousarray(pixels[chunk])).numpy() for chunk in chunks])

    def state(self) -> RunState:
        """Everything that a resumed run needs."""
        tensors = {name: np.copy(variable.numpy(), order="C") for name, variable in self._named_variables()}
        return RunState(asdict(self.recipe), self.history, tensors)

    def restore(self, state: RunState) -> None:
        """Go on from `state`.

        Raises:
            UnreadableCheckpoint: it is the state of another recipe.
        """
        state.check_recipe(asdict(self.recipe))
        for name, variable in self._named_variables():
            variable.assign(state.tensors[name])
        self.history = list(state.history)

    def _named_variables(self) -> Iterator[tuple[str, Any]]:
        """All state, with the generator behind dropout; numbered, because Keras counts its names up."""
        for group in ("network", "averaged", "optimizer"):
            for number, variable in enumerate(getattr(self, group).variables):
                yield f"{group}/{number}", variable


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Linear warm-up to `peak_rate`, then half a cosine down to zero."""
    warm_up = max(1, round(recipe.warm_up * steps))
    if step < warm_up:
        return recipe.peak_rate * (step + 1) / warm_up
    return recipe.peak_rate * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / (steps - warm_up)))
