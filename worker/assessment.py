"""Decoded images in, findings out: the engine, then the core's reading of its logits."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import numpy as np

from dermabatch.derived import Derived
from dermabatch.imaging.decoded import Decoded
from dermabatch.saliency import saliency_grids
from dermabatch.triage import Assessment, assess
from worker.serving import ServedModel


@dataclass(frozen=True, slots=True)
class Finding:
    """What the model and the quality gate say of one image."""

    assessment: Assessment
    quality: Mapping[str, Any]
    derived: Derived


def assess_images(
    decoded: Sequence[tuple[UUID, Decoded]], model: ServedModel, *, priority: int = 0
) -> dict[UUID, Finding]:
    """Run the model once over all images.

    Args:
        decoded: identifiers and pictures of at least one chunk's worth or less.
        model: verified and loaded.
        priority: 0 goes before 1 in the engine's queue.
    """
    if not decoded:
        return {}
    output = model.engine.run(np.stack([picture.pixels for _, picture in decoded]), priority=priority)
    assessments = assess(output.logits, model.artifact.manifest, [picture.quality for _, picture in decoded])
    grids = saliency_grids(output.cam)
    return {
        image_id: Finding(assessment, asdict(picture.quality), Derived(picture.thumbnail, saliency))
        for (image_id, picture), assessment, saliency in zip(decoded, assessments, grids, strict=True)
    }
