"""Reads a data set in the published layout of HAM10000: one CSV of lesions and folders of JPEG images.

Source: Tschandl, Rosendahl & Kittler, "The HAM10000 dataset", Scientific Data 5:180161 (2018),
doi:10.7910/DVN/DBW86T.
"""

import csv
import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from dermabatch.imaging.preprocess import PREPROCESSING_VERSION, preprocess
from dermabatch.taxonomy import CLASSES
from training.errors import TooLittleSpace, UnusableData

METADATA: Final = "HAM10000_metadata.csv"
COLUMNS: Final = ("lesion_id", "image_id", "dx")
LEFT_OUT: Final = frozenset({"ISIC_0035068"})  # not to be used, by the notes on the data

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of a lesion. `label` is the index of its class in `CLASSES`."""

    image_id: str
    lesion_id: str
    label: int
    path: Path


def read_samples(folder: Path) -> list[Sample]:
    """Every image that the metadata in `folder` names, sorted by image id.

    Raises:
        UnusableData: no metadata, a missing column, an unknown class, an image named twice or not there,
            or a lesion in two classes.
    """
    paths = {path.stem: path for path in sorted(folder.rglob("*.jpg"))}
    samples: dict[str, Sample] = {}
    for line, row in _metadata_rows(folder / METADATA):
        if row["image_id"] in LEFT_OUT:
            continue
        if row["image_id"] in samples:
            raise UnusableData(
                f"{METADATA}, line {line}: the image {row['image_id']} is named a second time."
            )
        samples[row["image_id"]] = _sample(row, line, paths)
    if not samples:
        raise UnusableData(f"{folder / METADATA} names no image.")
    _check_one_class_per_lesion(samples.values())
    return sorted(samples.values(), key=lambda sample: sample.image_id)


def _metadata_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    if not path.is_file():
        raise UnusableData(f"Expected the metadata of the data set at {path}. Received: no such file.")
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        received = reader.fieldnames or []
        if missing := [column for column in COLUMNS if column not in received]:
            raise UnusableData(
                f"{path.name}: expected a column {missing[0]}. Received: {', '.join(received)}"
            )
        yield from enumerate(reader, start=2)


def _sample(row: dict[str, str], line: int, paths: dict[str, Path]) -> Sample:
    if row["dx"] not in CLASSES:
        raise UnusableData(
            f"{METADATA}, line {line}: expected a class out of {', '.join(CLASSES)}. Received: {row['dx']}"
        )
    if row["image_id"] not in paths:
        raise UnusableData(
            f"{METADATA}, line {line}: no file {row['image_id']}.jpg in the folder or below it."
        )
    return Sample(row["image_id"], row["lesion_id"], CLASSES.index(row["dx"]), paths[row["image_id"]])


def _check_one_class_per_lesion(samples: Iterable[Sample]) -> None:
    seen: dict[str, Sample] = {}
    for sample in samples:
        first = seen.setdefault(sample.lesion_id, sample)
        if first.label != sample.label:
            raise UnusableData(
                f"The lesion {sample.lesion_id} stands in two classes: {CLASSES[first.label]} "
                f"({first.image_id}) and {CLASSES[sample.label]} ({sample.image_id})."
            )


def labels_of(samples: Sequence[Sample]) -> npt.NDArray[np.int64]:
    """The labels in the order of `samples`, int64[N]."""
    return np.array([sample.label for sample in samples], np.int64)


def lesion_frequencies(samples: Sequence[Sample]) -> npt.NDArray[np.float64]:
    """Share of each class among the lesions, float64[7], sum 1."""
    lesions = {sample.lesion_id: sample.label for sample in samples}
    counts = np.bincount(list(lesions.values()), minlength=len(CLASSES))
    shares: npt.NDArray[np.float64] = counts / counts.sum()
    return shares


def data_digest(samples: Sequence[Sample], pixels: Pixels) -> str:
    """SHA-256 over ids, labels and preprocessed pixels: what the network has really seen."""
    digest = hashlib.sha256()
    for sample, image in zip(samples, pixels, strict=True):
        digest.update(f"{sample.image_id},{sample.lesion_id},{CLASSES[sample.label]}\n".encode())
        digest.update(image.tobytes())
    return digest.hexdigest()


def load_pixels(samples: Sequence[Sample], size: int, cache: Path, progress: Callable[[int], None]) -> Pixels:
    """Decoded and preprocessed images, uint8[N, size, size, 3] RGB, memory-mapped from a file under `cache`.

    `progress` is called with the number of images done. A second call with the same samples reads the file.

    Raises:
        UnusableData: an image that does not decode.
        TooLittleSpace: the disk of `cache` cannot hold the file.
    """
    ids = "\n".join(sample.image_id for sample in samples)
    key = hashlib.sha256(f"{PREPROCESSING_VERSION} {size}\n{ids}".encode()).hexdigest()[:16]
    path = cache / f"pixels-{key}.npy"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        _check_space(len(samples) * size * size * 3, cache)
        partial = path.with_suffix(".partial")
        _decode_all(samples, size, partial, progress)
        partial.rename(path)
    return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]


def _check_space(needed: int, folder: Path) -> None:
    # Written through a memory map, a full disk would be a fatal signal instead of an error.
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise TooLittleSpace(
            f"Expected {needed / 1e9:.1f} GB of free space in {folder}. Received: {free / 1e9:.1f} GB"
        )


def _decode_all(samples: Sequence[Sample], size: int, path: Path, progress: Callable[[int], None]) -> None:
    pixels = np.lib.format.open_memmap(path, "w+", np.uint8, (len(samples), size, size, 3))
    with ThreadPoolExecutor() as pool:
        for number, image in enumerate(pool.map(lambda sample: read_image(sample.path, size), samples)):
            pixels[number] = image
            progress(number + 1)
    pixels.flush()


def read_image(path: Path, size: int) -> Pixels:
    """One image as the network takes it, uint8[size, size, 3] RGB."""
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise UnusableData(f"{path} is not a readable image.")
    return preprocess(np.ascontiguousarray(bgr[:, :, ::-1], np.uint8), size)
