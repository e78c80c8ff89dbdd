"""JPEG: walked by segments to its end marker and stripped of metadata without re-encoding (ITU-T T.81).

What stays: the coding segments, the scans, and the two that say how to read the colours (JFIF without its
thumbnail, Adobe). ICC profiles go with the rest: neither training nor serving applies one, so the pixels mean
the same without it, and a profile names the device.
"""

import re
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from dermabatch.errors import ImageRejected
from dermabatch.imaging.exif import UPRIGHT, orientation_of
from dermabatch.imaging.limits import MAX_PIXELS, check_dimensions
from dermabatch.imaging.picture import Picture
from dermabatch.imaging.rejection import RejectionReason

SIGNATURE: Final = b"\xff\xd8\xff"

_EOI, _SOS, _COM = 0xD9, 0xDA, 0xFE
_APP0, _APP1, _APP14, _APP15 = 0xE0, 0xE1, 0xEE, 0xEF
_READABLE_FRAMES: Final = {0xC0, 0xC1, 0xC2}  # baseline, extended, progressive; all Huffman-coded
_CODING: Final = {*_READABLE_FRAMES, 0xC4, 0xDB, 0xDD, _SOS}  # with Huffman and quantisation tables, restarts
_UNREADABLE_FRAMES: Final = {
    0xC3: "lossless",
    **dict.fromkeys((0xC5, 0xC6, 0xC7), "hierarchical"),
    **dict.fromkeys((0xC9, 0xCA), "arithmetic-coded"),
    0xCB: "lossless arithmetic-coded",
    **dict.fromkeys((0xCD, 0xCE, 0xCF), "hierarchical arithmetic-coded"),
    0xF7: "JPEG-LS",
}
_MAX_SCANS: Final = 100
"""An honest progressive file has about ten. Each costs a pass over all pixels: thousands are an attack."""

_MAX_SCANNED: Final = 20 * MAX_PIXELS
"""Pixels, counted once a scan. A scan of a few bytes may pass over all of them."""

# Within a scan FF 00 is a plain FF, FF D0 to D7 are restarts, FF FF is filling; anything else ends it.
_END_OF_SCAN: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


class _Part(NamedTuple):
    marker: int
    segment: bytes  # from its two length bytes on
    scan: bytes  # entropy-coded data; only behind a start of scan


class _Frame(NamedTuple):
    bits: int
    height: int
    width: int
    components: int


def inspect_jpeg(data: bytes) -> Picture:
    """Judge a JPEG by its structure and strip it; nothing is decoded.

    Args:
        data: the whole file, beginning with `SIGNATURE`.

    Raises:
        ImageRejected: truncated, corrupt, too_large, too_small, cmyk, unsupported_bit_depth,
            unsupported_encoding.
    """
    orientation, frame, scans, kept = UPRIGHT, None, 0, [b"\xff\xd8"]
    for part in _parts(data):
        if part.marker == _APP1 and part.segment[2:8] == b"Exif\0\0":
            orientation = orientation_of(part.segment[8:])
        elif part.marker in _READABLE_FRAMES:
            if frame is not None:
                raise _corrupt("it describes its picture twice")
            frame = _frame(part.segment)
        elif part.marker == _SOS:
            scans += 1
            if frame is None or scans > _MAX_SCANS or scans * frame.width * frame.height > _MAX_SCANNED:
                raise _corrupt("its scans do not fit its header")
        kept.append(_stripped(part))
    if frame is None or scans == 0:
        raise _corrupt("it holds no picture")
    return Picture.upright(frame.width, frame.height, orientation, b"".join([*kept, b"\xff\xd9"]))


def _parts(data: bytes) -> Iterator[_Part]:
    """Everything from the start marker to the end marker; what follows is left out."""
    at = 2
    while True:
        marker, at = _next_marker(data, at)
        if marker == _EOI:
            return
        segment = _segment(data, at)
        at += len(segment)
        end = _end_of_scan(data, at) if marker == _SOS else at
        yield _Part(marker, segment, data[at:end])
        at = end


def _next_marker(data: bytes, at: int) -> tuple[int, int]:
    """The marker at `at` and the position behind it; any number of FF may fill up before a marker."""
    if at >= len(data):
        raise _truncated()
    if data[at] != 0xFF:
        raise _corrupt(f"a marker was expected at byte {at}")
    while at < len(data) and data[at] == 0xFF:
        at += 1
    if at == len(data):
        raise _truncated()
    return data[at], at + 1


def _segment(data: bytes, at: int) -> bytes:
    """The segment whose two length bytes begin at `at`; they count themselves."""
    length = int.from_bytes(data[at : at + 2], "big")
    segment = data[at : at + length]
    if len(data) < at + 2 or (length >= 2 and len(segment) < length):
        raise _truncated()
    if length < 2:
        raise _corrupt(f"a segment of {length} bytes at byte {at}")
    return segment


def _frame(segment: bytes) -> _Frame:
    try:
        frame = _Frame(*struct.unpack_from(">BHHB", segment, 2))
    except struct.error:
        raise _corrupt("its header is too short") from None
    if frame.bits != 8:
        raise ImageRejected(
            RejectionReason.UNSUPPORTED_BIT_DEPTH,
            f"{frame.bits} bits a channel cannot be read: expected a JPEG of 8 bits a channel",
        )
    if frame.components == 4:
        raise ImageRejected(
            RejectionReason.CMYK,
            "the colours are CMYK, made for printing: expected RGB; export the picture again as RGB",
        )
    if frame.components not in (1, 3):
        raise _corrupt(f"it has {frame.components} colour channels")
    check_dimensions(frame.width, frame.height)
    return frame


def _end_of_scan(data: bytes, at: int) -> int:
    found = _END_OF_SCAN.search(data, at)
    if found is None:
        raise _truncated()
    return found.start()


def _stripped(part: _Part) -> bytes:
    """The part as it is kept; nothing where it is metadata."""
    marker, segment, scan = part
    if marker == _APP0 and segment[2:7] == b"JFIF\0" and len(segment) >= 16:
        # The length and a thumbnail of 0 x 0 instead of the one that may follow.
        segment = b"\x00\x10" + segment[2:14] + b"\0\0"
    elif marker == _APP14 and segment[2:7] == b"Adobe" and len(segment) >= 14:
        segment = b"\x00\x0e" + segment[2:14]
    elif marker == _COM or _APP0 <= marker <= _APP15:
        return b""
    elif marker in _UNREADABLE_FRAMES:
        raise ImageRejected(
            RejectionReason.UNSUPPORTED_ENCODING,
            f"{_UNREADABLE_FRAMES[marker]} JPEG cannot be read: expected a baseline or progressive JPEG",
        )
    elif marker not in _CODING:
        raise _corrupt(f"an unknown part, marker {marker:02X}")
    return bytes((0xFF, marker)) + segment + scan


def _truncated() -> ImageRejected:
    return ImageRejected(
        RejectionReason.TRUNCATED, "the JPEG is cut off: its end is missing; copy or export it again"
    )


def _corrupt(what: str) -> ImageRejected:
    return ImageRejected(RejectionReason.CORRUPT, f"the JPEG is damaged: {what}")
