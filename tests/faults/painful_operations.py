"""Decoder operations for which pictures of certain widths are poison. Intake finds nothing wrong with them."""

import ctypes

from dermabatch.imaging import operations
from dermabatch.imaging.decoded import Decoded

extract_dicom, render, warm_up = operations.extract_dicom, operations.render, operations.warm_up

CRASHES, HANGS, BLOATS = 161, 163, 165
"""Widths in pixels."""


def decode(data: memoryview, orientation: int, size: int) -> Decoded:
    match operations.upright_rgb(data, orientation).shape[1]:
        case width if width == CRASHES:
            ctypes.string_at(0)
        case width if width == HANGS:
            while True:
                pass
        case width if width == BLOATS:
            bytearray(10 * 2**30)
    return operations.decode(data, orientation, size)
