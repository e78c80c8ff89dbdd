"""A data set of dermatoscopic images: its samples, checked, and their pixels, decoded once.

Source of HAM10000: Tschandl, Rosendahl & Kittler, "The HAM10000 dataset", Scientific Data 5:180161 (2018),
doi:10.7910/DVN/DBW86T.
"""

import hashlib
import os
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
from training.findings import Findings, Problem
from training.metadata import CLASS_OF_DIAGNOSIS, Record, read_records

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png"})
LEFT_OUT: Final = frozenset({"ISIC_0035068"})  # not to be used, by the notes on the data
SEXES: Final = ("male", "female")
MAX_AGE: Final = 130

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of a lesion. `label` is the index of its class in `CLASSES`; `age` is in years.

    What the metadata does not say, or calls unknown, is None.
    """

    image_id: str
    lesion_id: str
    label: int
    path: Path
    age: float | None = None
    sex: str | None = None
    localization: str | None = None


def read_samples(folder: Path) -> list[Sample]:
    """Every image that the tables in `folder` name, sorted by image id.

    Raises:
        UnusableData: see `training.findings.Problem`; the message tells all that is wrong. Whether images decode is
            found out by `load_pixels`.
    """
    samples, findings = inspect_samples(folder)
    findings.stop_at_problems(folder)
    return samples


def inspect_samples(folder: Path) -> tuple[list[Sample], Findings]:
    """The samples in `folder` that can be used, sorted by image id, and what is wrong with the others.

    Raises:
        UnusableData: there is no table of images and classes, or it names none.
    """
    findings = Findings()
    records = [record for record in read_records(folder, findings) if record.image not in LEFT_OUT]
    if not records:
        raise UnusableData(f"The tables in {folder} name no image.")
    files = _image_files(folder)
    samples = [sample for record in records if (sample := _sample(record, files, findings))]
    _check_one_class_per_lesion(samples, findings)
    _note_what_is_odd(records, files, findings)
    return samples, findings


def _image_files(folder: Path) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES:
            files.setdefault(path.stem, []).append(path)
    return files


def _sample(record: Record, files: dict[str, list[Path]], findings: Findings) -> Sample | None:
    """The sample that `record` describes; None, and a finding, if a class or a file is missing."""
    name = CLASS_OF_DIAGNOSIS.get((record.diagnosis or "").lower())
    paths = files.get(record.image, [])
    if name is None:
        findings.add(Problem.UNKNOWN_CLASS, f"{record.diagnosis or 'none'} ({record.where})")
    if not paths:
        findings.add(Problem.NOT_THERE, f"{record.image} ({record.where})")
    if len(paths) > 1:
        findings.add(Problem.TWO_FILES, " and ".join(map(str, paths)))
    if name is None or not paths:
        return None
    return Sample(
        record.image,
        # Without a lesion's id the audit of near-duplicates is all that keeps its images on one side.
        record.lesion or record.image,
        CLASSES.index(name),
        paths[0],
        age=_age(record, findings),
        sex=_sex(record, findings),
        localization=record.localization.lower() if record.localization else None,
    )


def _age(record: Record, findings: Findings) -> float | None:
    if record.age is None:
        return None
    try:
        age = float(record.age)
    except ValueError:
        age = -1.0
    if not 0 <= age <= MAX_AGE:
        findings.add(Problem.IMPOSSIBLE_VALUE, f"an age of {record.age} ({record.where})")
        return None
    return age


def _sex(record: Record, findings: Findings) -> str | None:
    if record.sex is None or record.sex.lower() in SEXES:
        return record.sex and record.sex.lower()
    findings.add(Problem.IMPOSSIBLE_VALUE, f"sex {record.sex}, not {' or '.join(SEXES)} ({record.where})")
    return None


def _check_one_class_per_lesion(samples: Iterable[Sample], findings: Findings) -> None:
    seen: dict[str, Sample] = {}
    for sample in samples:
        first = seen.setdefault(sample.lesion_id, sample)
        if first.label != sample.label:
            findings.add(
                Problem.LESION_IN_TWO_CLASSES,
                f"{sample.lesion_id} is {CLASSES[first.label]} ({first.image_id}) "
                f"and {CLASSES[sample.label]} ({sample.image_id})",
            )


def _note_what_is_odd(records: Sequence[Record], files: dict[str, list[Path]], findings: Findings) -> None:
    if lone := sum(record.lesion is None for record in records):
        findings.notes.append(f"Images without a lesion id, each counted as a lesion of its own: {lone:,}.")
    if unnamed := len(files.keys() - {record.image for record in records} - LEFT_OUT):
        findings.notes.append(f"Image files that no table names, not used: {unnamed:,}.")


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
        UnusableData: images that do not decode; the message names them.
        TooLittleSpace: the disk of `cache` cannot hold the file.
    """
    ids = "\n".join(sample.image_id for sample in samples)
    key = hashlib.sha256(f"{PREPROCESSING_VERSION} {size}\n{ids}".encode()).hexdigest()[:16]
    path = cache / f"pixels-{key}.npy"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        check_space(len(samples) * size * size * 3, cache)
        partial = path.with_suffix(".partial")
        try:
            _decode_all(samples, size, partial, progress)
            partial.rename(path)
        finally:
            partial.unlink(missing_ok=True)
    return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]


def check_space(needed: int, folder: Path) -> None:
    """
    Raises:
        TooLittleSpace: the disk of `folder` has less than `needed` bytes left.
    """
    # Written through a memory map, a full disk would be a fatal signal instead of an error.
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise TooLittleSpace(
            f"Expected {needed / 1e9:.1f} GB of free space in {folder}. Received: {free / 1e9:.1f} GB"
        )


def _decode_all(samples: Sequence[Sample], size: int, path: Path, progress: Callable[[int], None]) -> None:
    pixels = np.lib.format.open_memmap(path, "w+", np.uint8, (len(samples), size, size, 3))
    findings = Findings()
    for number, image in enumerate(decoded(samples, size, findings)):
        if image is not None:
            pixels[number] = image
        progress(number + 1)
    findings.stop_at_problems(Path(os.path.commonpath([sample.path.parent for sample in samples])))
    pixels.flush()


def decoded(samples: Sequence[Sample], size: int, findings: Findings) -> Iterator[Pixels | None]:
    """The images in order, uint8[size, size, 3] RGB; None, and a finding, for each that does not decode."""
    with ThreadPoolExecutor() as pool:
        images = pool.map(lambda sample: _readable_image(sample.path, size), samples)
        for sample, image in zip(samples, images, strict=True):
            if image is None:
                findings.add(Problem.UNREADABLE, str(sample.path))
            yield image


def _readable_image(path: Path, size: int) -> Pixels | None:
    try:
        return read_image(path, size)
    except UnusableData:
        return None


def read_image(path: Path, size: int) -> Pixels:
    """One image as the network takes it, uint8[size, size, 3] RGB.

    Raises:
        UnusableData: it does not decode.
    """
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise UnusableData(f"{path} is not a readable image.")
    return preprocess(np.ascontiguousarray(bgr[:, :, ::-1], np.uint8), size)
