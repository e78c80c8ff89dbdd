"""Pictures in, findings out: decoders, the engine, then the core's reading of its logits."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import numpy as np

from dermabatch import ledger
from dermabatch.clinical import Clinical
from dermabatch.derived import Derived
from dermabatch.errors import DecoderDied, ImageRejected
from dermabatch.imaging.decoded import Decoded
from dermabatch.imaging.sandbox import DecoderPool
from dermabatch.saliency import saliency_grids
from dermabatch.triage import Assessment, assess
from worker.opening import Picture
from worker.serving import ServedModel


@dataclass(frozen=True, slots=True)
class Finding:
    """What the model and the quality gate say of one image."""

    assessment: Assessment
    quality: Mapping[str, Any]
    derived: Derived


Answer = Finding | ledger.Refused | DecoderDied


def classify(
    pictures: Sequence[Picture], model: ServedModel, decoders: DecoderPool, *, priority: int = 0
) -> dict[UUID, Answer]:
    """Decode every picture and run the model once over all that are images.

    Args:
        pictures: one chunk's worth or less.
        model: verified and loaded.
        decoders: sandboxed.
        priority: 0 goes before 1 in the engine's queue.

    Returns:
        An answer for each picture, by the identifier of its image.

    Raises:
        ServiceUnavailable: no decoder can be started.
    """
    files = [(picture.data, picture.orientation) for picture in pictures]
    answers: dict[UUID, Answer] = {}
    decoded: dict[UUID, Decoded] = {}
    for picture, result in zip(pictures, decoders.decode(files, model.engine.input_size), strict=True):
        match result:
            case Decoded():
                decoded[picture.image_id] = result
            case ImageRejected():
                answers[picture.image_id] = ledger.Refused(picture.image_id, result.reason, str(result))
            case DecoderDied():
                answers[picture.image_id] = result
    clinical = {picture.image_id: picture.clinical for picture in pictures}
    return answers | _assess(decoded, clinical, model, priority)


def _assess(
    decoded: Mapping[UUID, Decoded], clinical: Mapping[UUID, Clinical], model: ServedModel, priority: int
) -> dict[UUID, Finding]:
    if not decoded:
        return {}
    images = list(decoded.values())
    output = model.engine.run(np.stack([image.pixels for image in images]), priority=priority)
    assessments = assess(
        output.logits,
        model.artifact.manifest,
        [image.quality for image in images],
        [clinical[image_id] for image_id in decoded],
        strangeness=model.detector.strangeness(output.embedding),
    )
    grids = saliency_grids(output.cam)
    return {
        image_id: Finding(assessment, asdict(image.quality), Derived(image.thumbnail, grid))
        for (image_id, image), assessment, grid in zip(decoded.items(), assessments, grids, strict=True)
    }
