"""Age, sex and place on the body, added to what a network says of the picture.

Late fusion by Bayes' rule: where picture and field are independent within a class,
log p(class | picture, field) = logit + log p(field | class), up to a constant. They are not quite independent, so
training weighs each field by an exponent (`training.fusion`); the manifest holds the product, one number for each
value and class. A field that is unknown adds nothing: an image of which nothing is known keeps its logits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dermabatch.clinical import Clinical, Field, value_of
from dermabatch.manifest import Fusion

Logits = npt.NDArray[np.float64]
Used = tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Fused:
    """Logits float64[N, 7] of picture and fields together, and for each image the fields that went into them."""

    logits: Logits
    used: tuple[Used, ...]


def fuse(logits: npt.NDArray[np.floating], fusion: Fusion | None, clinical: Sequence[Clinical]) -> Fused:
    """Add to the logits of N images what is known of each.

    Args:
        logits: float[N, 7] of the network, for a balanced prior. So are the fused ones.
        fusion: of the same model; None where it came without one.
        clinical: of the N images.

    Raises:
        ValueError: not as many `clinical` as images.
    """
    if len(clinical) != len(logits):
        raise ValueError(f"expected what is known of {len(logits)} images, got {len(clinical)}")
    tables: Mapping[Field, Mapping[str, Sequence[float]]] = fusion.evidence if fusion else {}
    fused = logits.astype(np.float64)
    used: list[Used] = []
    for image, known in enumerate(clinical):
        values = {field: value for field in tables if (value := value_of(field, known)) is not None}
        for field, value in values.items():
            fused[image] += tables[field][value]
        used.append(tuple(values))
    return Fused(fused, tuple(used))
