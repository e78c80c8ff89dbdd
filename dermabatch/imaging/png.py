"""PNG: walked chunk by chunk to IEND and stripped of metadata without re-encoding (ISO/IEC 15948).

What stays: the critical chunks and the transparency. Colour profiles and gamma go with the rest: neither
training nor serving applies them, so the pixels mean the same without, and a profile names the device.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

from dermabatch.errors import ImageRejected
from dermabatch.imaging.exif import UPRIGHT, orientation_of
from dermabatch.imaging.limits import check_dimensions
from dermabatch.imaging.picture import Picture
from dermabatch.imaging.rejection import RejectionReason

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

_KEPT: Final = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_PALETTE: Final = 3
_BIT_DEPTHS: Final = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, _PALETTE: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}
"""Allowed by the standard for each colour type: grey, RGB, palette, grey with alpha, RGB with alpha."""
_CHANNELS: Final = {0: 1, 2: 3, _PALETTE: 1, 4: 2, 6: 4}
_WHOLE: Final = ((0, 0, 1, 1),)
_ADAM7: Final = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)
)  # fmt: skip
"""The passes of an interlaced picture: first column and row, and how many columns and rows it goes on by."""

_STEP: Final = 2**18
"""Bytes that are unpacked at a time."""


class _Chunk(NamedTuple):
    kind: bytes
    content: bytes
    whole: bytes

    @property
    def critical(self) -> bool:
        return not self.kind[0] & 0x20


class _Header(NamedTuple):
    width: int
    height: int
    bits: int
    colour: int
    interlaced: bool

    @property
    def unpacked_bytes(self) -> int:
        """What the picture's data unpack to: each row's samples, with a byte before them."""
        pixel_bits = self.bits * _CHANNELS[self.colour]
        size = 0
        for column, row, columns, rows in _ADAM7 if self.interlaced else _WHOLE:
            width, height = -((column - self.width) // columns), -((row - self.height) // rows)
            if width > 0 and height > 0:
                size += height * (1 + (width * pixel_bits + 7) // 8)
        return size


def inspect_png(data: bytes) -> Picture:
    """Judge a PNG by its structure and checksums and strip it; nothing is decoded.

    Args:
        data: the whole file, beginning with `SIGNATURE`.

    Raises:
        ImageRejected: truncated, corrupt, too_large, too_small, unsupported_bit_depth, animated.
    """
    chunks = _chunks(data)
    header = next(chunks)
    width, height, _, colour, _ = _header(header)
    kept, orientation, kinds = [SIGNATURE, header.whole], UPRIGHT, [header.kind]
    for chunk in chunks:
        if chunk.kind == b"acTL":
            raise ImageRejected(
                RejectionReason.ANIMATED, "the PNG is animated: expected one picture, export a single one"
            )
        if chunk.kind == b"eXIf":
            orientation = orientation_of(chunk.content)
        if chunk.kind in _KEPT:
            kept.append(chunk.whole)
            kinds.append(chunk.kind)
        elif chunk.critical:
            raise _corrupt(f"an unknown critical part {chunk.kind!r}")
    _check_order(kinds, colour)
    return Picture.upright(width, height, orientation, b"".join(kept))


def check_unpacked_size(data: bytes) -> None:
    """Refuse a PNG whose data unpack to more than its header promises: a decoder unpacks even gigabytes to their end.

    Runs in the sandbox, as unpacking is a decoder's work.

    Args:
        data: a whole PNG.

    Raises:
        ImageRejected: corrupt; also where the data cannot be unpacked at all.
    """
    chunks = _chunks(data)
    left = _header(next(chunks)).unpacked_bytes
    inflater = zlib.decompressobj()
    for packed in (chunk.content for chunk in chunks if chunk.kind == b"IDAT"):
        rest = packed
        while rest:
            try:
                left -= len(inflater.decompress(rest, _STEP))
            except zlib.error:
                raise _corrupt("its data cannot be unpacked") from None
            if left < 0:
                raise _corrupt("it unpacks to more than its header promises")
            rest = inflater.unconsumed_tail


def _chunks(data: bytes) -> Iterator[_Chunk]:
    """All chunks to IEND, their checksums verified; what follows IEND is left out."""
    at = len(SIGNATURE)
    while True:
        if len(data) < at + 12:
            raise _truncated()
        length = int.from_bytes(data[at : at + 4], "big")
        end = at + 12 + length
        kind = data[at + 4 : at + 8]
        if not kind.isalpha():
            raise _corrupt(f"no part begins at byte {at}")
        if len(data) < end:
            raise _truncated()
        if zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise _corrupt(f"the checksum of its part {kind.decode('latin-1')} at byte {at} is wrong")
        yield _Chunk(kind, data[at + 8 : end - 4], data[at:end])
        if kind == b"IEND":
            return
        at = end


def _header(chunk: _Chunk) -> _Header:
    if chunk.kind != b"IHDR" or len(chunk.content) != 13:
        raise _corrupt("it does not begin with its header")
    width, height, bits, colour, compression, filtering, interlace = struct.unpack(">IIBBBBB", chunk.content)
    if bits not in _BIT_DEPTHS.get(colour, ()) or compression or filtering or interlace > 1:
        raise _corrupt("its header contradicts itself")
    if bits == 16:
        raise ImageRejected(
            RejectionReason.UNSUPPORTED_BIT_DEPTH,
            "16 bits a channel cannot be judged, as their scale is not known: export with 8 bits a channel",
        )
    check_dimensions(width, height)
    return _Header(width, height, bits, colour, bool(interlace))


def _check_order(kinds: list[bytes], colour: int) -> None:
    """Header, palette, transparency, then all picture data in one row; each but the data at most once."""
    data = [index for index, kind in enumerate(kinds) if kind == b"IDAT"]
    if not data:
        raise _corrupt("it holds no picture")
    before, after = kinds[: data[0]], kinds[data[-1] + 1 :]
    allowed = ([b"IHDR"], [b"IHDR", b"PLTE"], [b"IHDR", b"tRNS"], [b"IHDR", b"PLTE", b"tRNS"])
    unbroken = data[-1] - data[0] + 1 == len(data)
    if before not in allowed or after != [b"IEND"] or not unbroken:
        raise _corrupt("its parts are out of order")
    if colour == _PALETTE and b"PLTE" not in before:
        raise _corrupt("its palette is missing")


def _truncated() -> ImageRejected:
    return ImageRejected(
        RejectionReason.TRUNCATED, "the PNG is cut off: its end is missing; copy or export it again"
    )


def _corrupt(what: str) -> ImageRejected:
    return ImageRejected(RejectionReason.CORRUPT, f"the PNG is damaged: {what}")
