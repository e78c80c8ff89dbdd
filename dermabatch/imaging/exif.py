"""The one thing that is read from EXIF before it is thrown away: which way up the camera was held."""

import struct
from typing import Final

UPRIGHT: Final = 1
_ORIENTATION_TAG: Final = 0x0112
_SHORT: Final = 3
_ENTRY_BYTES: Final = 12


def orientation_of(tiff: bytes) -> int:
    """Orientation of a picture from its EXIF block.

    Args:
        tiff: the block from its byte order mark on, without the "Exif" prefix of a JPEG.

    Returns:
        1 to 8 as EXIF defines them; 1, upright, where the block is damaged or silent: so does every viewer.
    """
    try:
        return _read_orientation(tiff)
    except struct.error:
        return UPRIGHT


def _read_orientation(tiff: bytes) -> int:
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return UPRIGHT
    (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
    (entries,) = struct.unpack_from(f"{order}H", tiff, directory)
    for index in range(entries):
        tag, kind, count, value = struct.unpack_from(
            f"{order}HHIH", tiff, directory + 2 + index * _ENTRY_BYTES
        )
        if (tag, kind, count) == (_ORIENTATION_TAG, _SHORT, 1):
            return value if 1 <= value <= 8 else UPRIGHT
    return UPRIGHT
