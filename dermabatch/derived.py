"""The derived object: what the portal shows of the images of one chunk besides their pictures, in one file.

An uncompressed npz without pickles: `thumbnails` holds the JPEG files end to end, `ends` where each of them ends, and
`saliency` the grids. At 64 images it has about 250 kB, so a reader fetches it whole.
"""

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Derived:
    """What was derived from one image.

    Attributes:
        thumbnail: JPEG.
        saliency: uint8[h, w, 7], see `saliency.saliency_grids`.
    """

    thumbnail: bytes
    saliency: npt.NDArray[np.uint8]


def pack_derived(items: Sequence[Derived]) -> bytes:
    """One file of at least one image's derived data, of one model and so of one grid shape."""
    stream = io.BytesIO()
    np.savez(
        stream,
        thumbnails=np.frombuffer(b"".join(item.thumbnail for item in items), np.uint8),
        ends=np.cumsum([len(item.thumbnail) for item in items], dtype=np.int64),
        saliency=np.stack([item.saliency for item in items]),
    )
    return stream.getvalue()


def read_derived(data: bytes, index: int) -> Derived:
    """The entry at `index`, 0 for the first, of what `pack_derived` made.

    Raises:
        ValueError: the bytes are no such file, or hold no such entry.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            thumbnails, ends, saliency = arrays["thumbnails"], arrays["ends"], arrays["saliency"]
    except (KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"expected a derived object, received something else: {error}") from None
    if not 0 <= index < len(ends):
        raise ValueError(f"expected an entry below {len(ends)}, received {index}")
    start = ends[index - 1] if index else 0
    return Derived(thumbnails[start : ends[index]].tobytes(), saliency[index])
