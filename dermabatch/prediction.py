"""Files in, assessments out, in this process: the worker's arithmetic without its queue, database and storage."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from dermabatch.artifacts import Artifact
from dermabatch.clinical import Clinical
from dermabatch.engines.base import Engine
from dermabatch.errors import DecoderDied, ImageRejected
from dermabatch.imaging.decoded import Decoded
from dermabatch.imaging.inspection import Inspected, inspect
from dermabatch.imaging.limits import check_bytes
from dermabatch.imaging.quality import Quality
from dermabatch.imaging.sandbox import DecoderPool
from dermabatch.intake.judging import particulars_of
from dermabatch.intake.metadata import NOTHING_KNOWN, Particulars
from dermabatch.manifest import Manifest
from dermabatch.out_of_distribution import Detector, read_detector
from dermabatch.triage import Assessment, assess

CHUNK_IMAGES: Final = 64
"""As many as a worker takes at once: enough to keep every core busy, few enough to show progress."""


@dataclass(frozen=True, slots=True)
class Predicted:
    """What the model says of one file."""

    path: Path
    assessment: Assessment
    quality: Quality


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that is no image we can judge: `reason` is a stable code, `message` is for a person."""

    path: Path
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Seen:
    """A file, decoded as far as that is possible.

    Attributes:
        particulars: what the file itself says besides its picture, which only DICOM does.
    """

    path: Path
    found: Decoded | Unreadable
    particulars: Particulars = NOTHING_KNOWN


@dataclass(frozen=True, slots=True)
class _Model:
    engine: Engine
    manifest: Manifest
    detector: Detector


def predict(
    files: Mapping[Path, Particulars], *, engine: Engine, artifact: Artifact, decoders: DecoderPool
) -> Iterator[list[Predicted | Unreadable]]:
    """Classify files in their order, a chunk at a time; the next chunk is decoded meanwhile.

    Args:
        files: JPEG, PNG or DICOM files, and what is known of each; what it leaves open a DICOM file itself may say.
        engine: loaded with the model of `artifact`.
        artifact: verified; says how to read what the engine answers.
        decoders: started before the engine was loaded.

    Yields:
        One outcome for each of at most `CHUNK_IMAGES` files.
    """
    model = _Model(engine, artifact.manifest, read_detector(artifact))
    paths = list(files)
    decoding: Future[list[Seen]] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as read_ahead:
        for start in range(0, len(paths), CHUNK_IMAGES):
            next_chunk = paths[start : start + CHUNK_IMAGES]
            ahead = read_ahead.submit(decode, next_chunk, decoders, engine.input_size)
            if decoding is not None:
                yield _classify(decoding.result(), files, model)
            decoding = ahead
        if decoding is not None:
            yield _classify(decoding.result(), files, model)


def decode(paths: Sequence[Path], decoders: DecoderPool, size: int) -> list[Seen]:
    """Read and decode files in the sandbox, preprocessed to `size` squared; in their order."""
    opened = [_open(path, decoders) for path in paths]
    pictures = [(found.stripped, found.orientation) for found in opened if isinstance(found, Inspected)]
    decoded = iter(decoders.decode(pictures, size))
    return [
        Seen(path, found)
        if isinstance(found, Unreadable)
        else Seen(path, _readable(path, next(decoded)), _own_particulars(found))
        for path, found in zip(paths, opened, strict=True)
    ]


def _open(path: Path, decoders: DecoderPool) -> Inspected | Unreadable:
    if not path.is_file():  # reading a pipe would wait for ever
        return Unreadable(path, "unreadable", "not a file")
    try:
        check_bytes(path.stat().st_size)
        return inspect(path.read_bytes(), path.name, extract_dicom=decoders.extract_dicom)
    except OSError as error:
        return Unreadable(path, "unreadable", f"the file cannot be read: {error.strerror}")
    except (ImageRejected, DecoderDied) as error:
        return _unreadable(path, error)


def _readable(path: Path, outcome: Decoded | ImageRejected | DecoderDied) -> Decoded | Unreadable:
    return outcome if isinstance(outcome, Decoded) else _unreadable(path, outcome)


def _unreadable(path: Path, error: ImageRejected | DecoderDied) -> Unreadable:
    return Unreadable(path, error.reason if isinstance(error, ImageRejected) else error.code, str(error))


def _own_particulars(found: Inspected) -> Particulars:
    return NOTHING_KNOWN if found.tags is None else particulars_of(found.tags)


def _classify(
    seen: Sequence[Seen], told: Mapping[Path, Particulars], model: _Model
) -> list[Predicted | Unreadable]:
    pictures = [
        (one.found, _clinical(told[one.path].filled_from(one.particulars)))
        for one in seen
        if isinstance(one.found, Decoded)
    ]
    assessments = iter(_assess(pictures, model))
    return [
        Predicted(one.path, next(assessments), one.found.quality)
        if isinstance(one.found, Decoded)
        else one.found
        for one in seen
    ]


def _clinical(known: Particulars) -> Clinical:
    return Clinical(age=known.age, sex=known.sex, localization=known.localization)


def _assess(pictures: Sequence[tuple[Decoded, Clinical]], model: _Model) -> list[Assessment]:
    if not pictures:
        return []
    output = model.engine.run(np.stack([picture.pixels for picture, _ in pictures]))
    return assess(
        output.logits,
        model.manifest,
        [picture.quality for picture, _ in pictures],
        [clinical for _, clinical in pictures],
        strangeness=model.detector.strangeness(output.embedding),
    )
