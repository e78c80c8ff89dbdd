"""What the inspection of one format finds."""

from typing import NamedTuple, Self


class Picture(NamedTuple):
    """A picture that may be kept: its size as a person sees it, and its bytes without metadata."""

    width: int
    height: int
    orientation: int
    stripped: bytes

    @classmethod
    def upright(cls, stored_width: int, stored_height: int, orientation: int, stripped: bytes) -> Self:
        """From the size as it is stored; the orientations 5 to 8 lay a picture on its side."""
        if orientation >= 5:
            return cls(stored_height, stored_width, orientation, stripped)
        return cls(stored_width, stored_height, orientation, stripped)
