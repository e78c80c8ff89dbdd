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
    digest="cbd754d780a4fec518a5ce18eee7d6b64cea35ddc98d89d44f9172b6a52dc147",
)
