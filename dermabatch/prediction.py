"""Files in, assessments out, in this process: the worker's arithmetic without its queue, database and storage."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np

from dermabatch.artifacts import Manifest
from dermabatch.engines.base import Engine
from dermabatch.errors import DecoderDied, ImageRejected
from dermabatch.imaging.inspection import Inspected, inspect
from dermabatch.imaging.quality import Quality
from dermabatch.imaging.sandbox import Decoded, DecoderPool
from dermabatch.triage import Assessment, assess

CHUNK_IMAGES: Final = 64
"""As many as a worker takes at once; enough to keep every core busy, few enough to show progress."""


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


Outcome = Predicted | Unreadable


def predict(
    paths: Iterable[Path], *, engine: Engine, manifest: Manifest, decoders: DecoderPool
) -> Iterator[list[Outcome]]:
    """Classify files, a chunk at a time and in their order; the next chunk is decoded meanwhile.

    Args:
        paths: JPEG, PNG or DICOM files.
        engine: loaded with the model of `manifest`.
        manifest: says how to read the logits.
        decoders: started before the engine was loaded.

    Yields:
        One outcome for each of up to `CHUNK_IMAGES` files.
    """
    waiting = iter(paths)
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as ahead:

        def decode_next() -> Future[list[Decoded | Unreadable]] | None:
            ...
