"""The derived object: what the portal shows of the images of one chunk besides their pictures, in one file.

Each image's part is encrypted with the key that encrypts its picture: who erases the patient erases both. The file is
a table of where each part ends, and then the parts. At 64 images it has about 250 kB, so a reader fetches it whole.
"""

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final
from uuid import UUID

import numpy as np
import numpy.typing as npt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dermabatch.errors import SealBroken

_NUMBER: Final = struct.Struct(">I")
_SHAPE: Final = struct.Struct(">HHH")
_NONCE_BYTES: Final = 12


@dataclass(frozen=True, slots=True)
class Derived:
    """What was derived from one image.

    Attributes:
        thumbnail: JPEG.
        saliency: uint8[h, w, 7], see `saliency.saliency_grids`.
    """

    thumbnail: bytes
    saliency: npt.NDArray[np.uint8]


def seal_derived(item: Derived, key: bytes, image_id: UUID) -> bytes:
    """One image's part, encrypted (AES-256-GCM) with the 32-byte key of its patient or batch, bound to the image."""
    plain = _SHAPE.pack(*item.saliency.shape) + item.saliency.tobytes() + item.thumbnail
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain, _bound_to(image_id))


def pack_derived(parts: Sequence[bytes]) -> bytes:
    """One file of what `seal_derived` made of each image."""
    ends = accumulate(len(part) for part in parts)
    return b"".join((_NUMBER.pack(len(parts)), *(_NUMBER.pack(end) for end in ends), *parts))


def read_derived(data: bytes, index: int, *, key: bytes, image_id: UUID) -> Derived:
    """The part at `index`, 0 for the first, of what `pack_derived` made.

    Raises:
        ValueError: the bytes are no such file, or hold no such part.
        SealBroken: the part was changed, or is another image's or another key's.
    """
    sealed = _part(data, index)
    try:
        plain = AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _bound_to(image_id))
    except (InvalidTag, ValueError) as error:
        raise SealBroken(f"What was derived from image {image_id} does not open with its key.") from error
    shape = _SHAPE.unpack_from(plain)
    end = _SHAPE.size + int(np.prod(shape))
    return Derived(plain[end:], np.frombuffer(plain[_SHAPE.size : end], np.uint8).reshape(shape))


def _part(data: bytes, index: int) -> bytes:
    try:
        [count] = _NUMBER.unpack_from(data)
        ends = [0, *(end for [end] in _NUMBER.iter_unpack(data[_NUMBER.size : _NUMBER.size * (1 + count)]))]
    except struct.error as error:
        raise ValueError(f"expected a derived object, received something else: {error}") from None
    if not 0 <= index < count:
        raise ValueError(f"expected a part below {count}, received {index}")
    parts = data[_NUMBER.size * (1 + count) :]
    if len(ends) != count + 1 or len(parts) != ends[-1]:
        raise ValueError(f"expected a derived object of {count} parts, received something else")
    return parts[ends[index] : ends[index + 1]]


def _bound_to(image_id: UUID) -> bytes:
    # A picture is bound to the bare id (`packs.seal`); the prefix keeps the two from standing in for each other.
    return b"derived/" + image_id.bytes
