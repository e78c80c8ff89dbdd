"""What every engine does, whatever computes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol, Self

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
EngineKind = Literal["auto", "openvino", "tensorflow"]
Precision = Literal["f32", "bf16", "int8"]
PrecisionChoice = Literal["auto", "f32", "bf16", "int8"]


@dataclass(frozen=True, slots=True)
class EngineOutput:
    """What a network says of N images.

    Attributes:
        logits: float32[N, 7], for a balanced prior.
        embedding: float32[N, D], after global average pooling.
        cam: float32[N, h, w, 7], class activation maps.
    """

    logits: npt.NDArray[np.float32]
    embedding: npt.NDArray[np.float32]
    cam: npt.NDArray[np.float32]

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The outputs of consecutive micro-batches as one."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))


class Engine(Protocol):
    """A loaded model. Made by `load_engine`."""

    name: str
    """Framework, version, device and precision, for the record."""
    input_size: int
    """Edge S of the square input in pixels."""

    def run(
        self, images: Images, metadata: Mapping[str, Any] | None = None, *, priority: int = 0
    ) -> EngineOutput:
        """Classify; safe to call from several threads at once.

        Args:
            images: uint8[N, S, S, 3], RGB, preprocessed; N at least 1, of any size: the engine makes its own batches.
            metadata: of the patient, for networks that take it; none does yet.
            priority: micro-batches with the lower number overtake those with the higher that still wait.

        Raises:
            ValueError: `images` is of another shape or type.
        """

    def close(self) -> None:
        """Finish what waits and let the device go. Safe to repeat; `run` raises RuntimeError from then on."""


def check_images(images: Images, input_size: int) -> None:
    """Refuse what no engine takes.

    Raises:
        ValueError: see `Engine.run`.
    """
    expected = (input_size, input_size, 3)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != expected or not len(images):
        raise ValueError(
            f"expected uint8[N, {input_size}, {input_size}, 3], received {images.dtype}{images.shape}"
        )
