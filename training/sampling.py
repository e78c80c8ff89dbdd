"""Which images an epoch shows, in which order, and the batches of views made of them ahead of the training step."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import numpy as np
import numpy.typing as npt

from training.augment import Augmentation, random_view
from training.data import Pixels
from training.errors import UnusableData

WORKERS: Final = 2
BATCHES_AHEAD: Final = 4

Positions = npt.NDArray[np.int64]


def epoch_order(
    labels: npt.NDArray[np.int64],
    positions: Positions,
    *,
    most_per_class: int | None,
    random: np.random.Generator,
) -> Positions:
    """The images of one epoch, shuffled: of each class at most `most_per_class`, others in another epoch.

    A common class teaches little more with its last thousands of images; leaving some out of each epoch buys the rare
    ones more epochs in the same time. The logit adjustment corrects for the frequencies that remain.
    """
    shuffled = random.permutation(positions)
    if most_per_class is None:
        return shuffled
    kept = [shuffled[labels[shuffled] == label][:most_per_class] for label in np.unique(labels[positions])]
    return random.permutation(np.concatenate(kept))


def balanced_order(labels: npt.NDArray[np.int64], order: Positions, random: np.random.Generator) -> Positions:
    """As many images as `order`, drawn from it with every class as likely, rare ones again and again."""
    frequencies = np.bincount(labels[order])
    likely = 1 / frequencies[labels[order]]
    return random.choice(order, len(order), p=likely / likely.sum())


def batches(
    pixels: Pixels,
    labels: npt.NDArray[np.int64],
    order: Positions,
    *,
    batch: int,
    size: int,
    strength: Augmentation,
    seed: tuple[int, ...],
) -> Iterator[tuple[Pixels, npt.NDArray[np.int64]]]:
    """Augmented batches in the order of `order`, made ahead in threads.

    The last images, which fill no batch, are left out. A view depends on `seed` and its place in `order` alone, not on
    timing: a resumed run sees the same ones.

    Yields:
        images uint8[batch, size, size, 3] and labels int64[batch].

    Raises:
        UnusableData: fewer images than one batch.
    """
    if len(order) < batch:
        raise UnusableData(f"Expected at least {batch} training images, one batch. Received: {len(order)}")

    def make(start: int) -> tuple[Pixels, npt.NDArray[np.int64]]:
        chunk = order[start : start + batch]
        views = [
            random_view(pixels[image], size, np.random.default_rng((*seed, start + number)), strength)
            for number, image in enumerate(chunk)
        ]
        return np.stack(views), labels[chunk]

    with ThreadPoolExecutor(WORKERS) as pool:
        waiting: list[Future[tuple[Pixels, npt.NDArray[np.int64]]]] = []
        for start in range(0, len(order) - batch + 1, batch):
            waiting.append(pool.submit(make, start))
            if len(waiting) > BATCHES_AHEAD:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()
