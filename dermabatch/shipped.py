"""The model that comes with the source: trusted by the digest below, not by a signature."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class ShippedModel:
    """Where the artifact lies, and the SHA-256 that its manifest must have."""

    folder: Path
    digest: str


SHIPPED_MODEL: Final = ShippedModel(
    folder=Path(__file__).parent / "shipped_model",
    digest="e3875fca0d325340b53fb415be26c8d6c2a3a8ab68adf4c7b66f78f8529f5120",
)
