"""Random views of a training image: what a dermatoscope could as well have shown of the same lesion."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from training.data import Pixels

SMALLEST_CROP: Final = 0.65  # share of the edge; below it lesions lose their border
BRIGHTNESS: Final = 0.15  # relative, either way: lamps differ
CONTRAST: Final = 0.15
TINT: Final = 0.06  # per channel: white balance differs less than brightness, and colour is diagnostic
WORKERS: Final = 2
BATCHES_AHEAD: Final = 4


def random_view(image: Pixels, random: np.random.Generator) -> Pixels:
    """A random crop, quarter turn, flip and tint of `image`, uint8[S, S, 3], at its own size."""
    return cv2.LUT(_random_frame(image, random), _random_tint(random))  # type: ignore[return-value]


def _random_frame(image: Pixels, random: np.random.Generator) -> Pixels:
    """Crop, turn and flip in one resampling. A lesion has no right way up: all eight poses are as likely."""
    size = image.shape[0]
    edge = random.uniform(SMALLEST_CROP, 1) * size
    left, top = random.uniform(0, size - edge, 2)
    corners = np.array([(left, top), (left + edge, top), (left + edge, top + edge), (left, top + edge)])
    corners = np.roll(corners, random.integers(4), axis=0)
    if random.random() < 0.5:
        corners = corners[::-1]
    target = np.array([(0, 0), (size, 0), (size, size)], np.float32)
    # `corners` are edges of pixels, OpenCV counts from centres: so a full, unturned frame is exactly the image.
    matrix = cv2.getAffineTransform(corners[:3].astype(np.float32) - 0.5, target - 0.5)
    return cv2.warpAffine(
        image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )  # type: ignore[return-value]


def _random_tint(random: np.random.Generator) -> Pixels:
    """Brightness, contrast and channel gains as a table for `cv2.LUT`, uint8[1, 256, 3]."""
    levels = np.arange(256, dtype=np.float32)[None, :, None]
    contrast = 1 + random.uniform(-CONTRAST, CONTRAST)
    gain = (1 + random.uniform(-BRIGHTNESS, BRIGHTNESS)) * (1 + random.uniform(-TINT, TINT, 3))
    return np.clip(((levels - 128) * contrast + 128) * gain, 0, 255).astype(np.uint8)


def training_batches(
    pixels: Pixels,
    labels: npt.NDArray[np.int64],
    positions: npt.NDArray[np.int64],
    *,
    batch: int,
    seed: int,
    epoch: int,
) -> Iterator[tuple[Pixels, npt.NDArray[np.int64]]]:
    """One epoch of shuffled, augmented batches, made ahead in threads.

    The last images, which fill no batch, are left out; another epoch leaves out others.
    The views depend on `seed`, `epoch` and the image alone, not on timing: a resumed run sees the same ones.

    Yields:
        images uint8[batch, S, S, 3] and labels int64[batch].
    """
    order = np.random.default_rng((seed, epoch)).permutation(positions)
    chunks = [order[start : start + batch] for start in range(0, len(order) - batch + 1, batch)]

    def make(chunk: npt.NDArray[np.int64]) -> tuple[Pixels, npt.NDArray[np.int64]]:
        views = [random_view(pixels[i], np.random.default_rng((seed, epoch, int(i)))) for i in chunk]
        return np.stack(views), labels[chunk]

    with ThreadPoolExecutor(WORKERS) as pool:
        waiting: list[Future[tuple[Pixels, npt.NDArray[np.int64]]]] = []
        for chunk in chunks:
            waiting.append(pool.submit(make, chunk))
            if len(waiting) > BATCHES_AHEAD:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()
