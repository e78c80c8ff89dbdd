"""Valid files with a few things wrong: bytes overwritten, cut out, put in or repeated, checksums mended or not."""

import io
import zipfile
from functools import cache
from random import Random

import cv2
from hypothesis import strategies as st

from dermabatch.imaging.synthetic import lesion_image, lesion_jpeg, lesion_png
from dermabatch.imaging.synthetic_dicom import lesion_dicom
from tests.unit.imaging.files import exif, jpeg_with, png_chunk

_SMALL = {"width": 96, "height": 72}
_SIGNATURE_BYTES = 8


def mutants() -> st.SearchStrategy[tuple[str, bytes]]:
    """Name and content of a JPEG, PNG, DICOM object or ZIP with one to four edits."""
    return st.builds(_mutant, st.sampled_from(sorted(originals())), st.integers(0, 2**32 - 1))


@cache
def originals() -> dict[str, bytes]:
    """The valid files, small ones, by name."""
    jpeg, png = lesion_jpeg(1, **_SMALL), lesion_png(1, **_SMALL)
    pixels = lesion_image(1, **_SMALL)
    return {
        "baseline.jpg": jpeg,
        "progressive.jpg": cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes(),
        "restarts.jpg": cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_RST_INTERVAL, 2])[1].tobytes(),
        "exif.jpg": jpeg_with(jpeg, (0xE1, b"Exif\0\0" + exif(6))),
        "colour.png": png,
        "grey.png": cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))[1].tobytes(),
        "jpeg.dcm": lesion_dicom(1, coding="jpeg", patient="P-1", age=50, **_SMALL),
        "native.dcm": lesion_dicom(1, coding="native", patient="P-1", age=50, **_SMALL),
        "deflated.zip": _zipped(zipfile.ZIP_DEFLATED, {"a.jpg": jpeg, "b/c.png": png}),
        "stored.zip": _zipped(zipfile.ZIP_STORED, {"a.jpg": jpeg, "b/c.png": png}),
    }


def _mutant(name: str, seed: int) -> tuple[str, bytes]:
    # Hypothesis itself would prefer the beginning of a file and small bytes.
    random = Random(seed)
    data = bytearray(originals()[name])
    for _ in range(random.randint(1, 4)):
        # Behind the signature: without it, it is another kind of file and no parser sees it.
        _edit(data, random.randrange(_SIGNATURE_BYTES, len(data)), random)
    return name, _with_checksums(data) if name.endswith(".png") and random.random() < 0.8 else bytes(data)


def _edit(data: bytearray, at: int, random: Random) -> None:
    length = random.choice((1, 2, 8, 200))
    match random.choice(("overwrite", "overwrite", "cut", "insert", "repeat")):
        case "overwrite":
            data[at : at + length] = random.randbytes(min(length, len(data) - at))
        case "cut":
            del data[at : min(at + length, len(data) - 1)]
        case "insert":
            data[at:at] = random.randbytes(length)
        case "repeat":
            data[at:at] = data[at : at + length]


def _with_checksums(png: bytearray) -> bytes:
    """Right checksums for as far as chunks follow each other: a decoder behind them sees what was changed."""
    parts, at = [bytes(png[:_SIGNATURE_BYTES])], _SIGNATURE_BYTES
    while at + 12 <= len(png):
        content = bytes(png[at + 8 : at + 8 + int.from_bytes(png[at : at + 4], "big")])
        parts.append(png_chunk(bytes(png[at + 4 : at + 8]), content))
        at += 12 + len(content)
    return b"".join(parts)


def _zipped(method: int, files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()
