"""Image files put together part by part, so that a test can get exactly one part wrong."""

import struct
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
_CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}

Chunk = tuple[bytes, bytes]
Segment = tuple[int, bytes]


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width: int, height: int, colour: int = RGB, bits: int = 8) -> Chunk:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)


def png_of(*chunks: Chunk) -> bytes:
    return PNG_SIGNATURE + b"".join(png_chunk(kind, content) for kind, content in chunks)


def png(samples: npt.NDArray[np.uint8], colour: int = RGB, extra: Sequence[Chunk] = ()) -> bytes:
    """A PNG of uint8[H, W] or uint8[H, W, channels], with chunks before its data."""
    height, width = samples.shape[:2]
    rows = samples.reshape(height, width * _CHANNELS[colour])
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return png_of(png_header(width, height, colour), *extra, (b"IDAT", data), (b"IEND", b""))


def png_chunks(data: bytes) -> Iterator[Chunk]:
    at = len(PNG_SIGNATURE)
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += 12 + length


def exif(orientation: int, order: str = "<") -> bytes:
    """An EXIF block with one entry, from its byte order mark on."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(f"{order}IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def jpeg_segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


def jpeg_with(data: bytes, *segments: Segment) -> bytes:
    """A JPEG with segments put in right behind its start."""
    return data[:2] + b"".join(jpeg_segment(*segment) for segment in segments) + data[2:]


def frame_header(width: int, height: int, components: int = 3, bits: int = 8) -> bytes:
    """Content of a JPEG's start-of-frame segment."""
    described = b"".join(bytes((number + 1, 0x11, 0)) for number in range(components))
    return struct.pack(">BHHB", bits, height, width, components) + described


def jpeg_frame_at(data: bytes) -> int:
    """Where the marker of a baseline JPEG's frame begins."""
    at = 2
    while data[at + 1] != 0xC0:
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at


def with_frame(data: bytes, content: bytes, marker: int = 0xC0) -> bytes:
    """A baseline JPEG with another frame header."""
    at = jpeg_frame_at(data)
    end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return data[:at] + jpeg_segment(marker, content) + data[end:]
