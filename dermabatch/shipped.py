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
    digest="36bcef01c8fef2a1e7a6027a989066e1c55f01a411f0dbbabf22cfed36220cab",
)
