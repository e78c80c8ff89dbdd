"""Files in, assessments out, in this process: the worker's arithmetic without its queue, database and storage."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from dermabatch.artifacts import Artifact
from dermabatch.engines.base import Engine
from dermabatch.errors import DecoderDied, ImageRejected
from dermabatch.imaging.decoded import Decoded
from dermabatch.imaging.inspection import Inspected, inspect
from dermabatch.imaging.limits import check_bytes
from dermabatch.imaging.quality import Quality
from dermabatch.imaging.sandbox import DecoderPool
from dermabatch.manifest import Manifest
from dermabatch.out_of_distribution import Detector, read_detector, strangeness
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
class _Model:
    engine: Engine
    manifest: Manifest
    detector: Detector | None


Opened = tuple[Path, Inspected | Unreadable]
Seen = tuple[Path, Decoded | Unreadable]


def predict(
    paths: Sequence[Path], *, engine: Engine, artifact: Artifact, decoders: DecoderPool
) -> Iterator[list[Predicted | Unreadable]]:
    """Classify files in their order, a chunk at a time; the next chunk is decoded meanwhile.

    Args:
        paths: JPEG, PNG or DICOM files.
        engine: loaded with the model of `artifact`.
        artifact: verified; says how to read what the engine answers.
        decoders: started before the engine was loaded.

    Yields:
        One outcome for each of at most `CHUNK_IMAGES` files.
    """
    model = _Model(engine, artifact.manifest, read_detector(artifact))
    decoding: Future[list[Seen]] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as read_ahead:
        for start in range(0, len(paths), CHUNK_IMAGES):
            next_chunk = paths[start : start + CHUNK_IMAGES]
            ahead = read_ahead.submit(decode, next_chunk, decoders, engine.input_size)
            if decoding is not None:
                yield _classify(decoding.result(), model)
            decoding = ahead
        if decoding is not None:
            yield _classify(decoding.result(), model)


def decode(paths: Sequence[Path], decoders: DecoderPool, size: int) -> list[Seen]:
    """Read and decode files in the sandbox, preprocessed to `size` squared; in their order."""
    opened = [(path, _open(path, decoders)) for path in paths]
    pictures = [(found.stripped, found.orientation) for _, found in opened if isinstance(found, Inspected)]
    decoded = iter(decoders.decode(pictures, size))
    return [
        (path, found if isinstance(found, Unreadable) else _readable(path, next(decoded)))
        for path, found in opened
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


def _classify(seen: Sequence[Seen], model: _Model) -> list[Predicted | Unreadable]:
    decoded = [found for _, found in seen if isinstance(found, Decoded)]
    assessments = iter(_assess(decoded, model))
    return [
        Predicted(path, next(assessments), found.quality) if isinstance(found, Decoded) else found
        for path, found in seen
    ]


def _assess(decoded: Sequence[Decoded], model: _Model) -> list[Assessment]:
    if not decoded:
        return []
    output = model.engine.run(np.stack([picture.pixels for picture in decoded]))
    return assess(
        output.logits,
        model.manifest,
        [picture.quality for picture in decoded],
        strangeness=strangeness(output.embedding, model.detector),
    )
