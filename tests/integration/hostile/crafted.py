"""Files made by hand: two formats in one, a virus scanner's test, headers that lie, and bombs."""

import gzip
import io
import struct
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import pydicom
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dermabatch.imaging.synthetic import lesion_image, lesion_jpeg, lesion_png
from dermabatch.imaging.synthetic_dicom import lesion_dicom
from tests.unit.imaging.files import (
    exif,
    frame_header,
    jpeg_frame_at,
    jpeg_with,
    png_chunks,
    png_header,
    png_of,
    with_frame,
)

MARK = b"a mark that must not be kept"
SCRIPT = b"<html><script>alert(1)</script>" + MARK
# In two halves, so that no scanner takes this source for what it only writes.
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-" + b"ANTIVIRUS-TEST-FILE!$H+H*"
LARGEST = 65_535
_SMALL = {"width": 96, "height": 72}
_MEGABYTE = 2**20


@dataclass(frozen=True)
class Crafted:
    """A file, and what becomes of it: the reason it is rejected for, or None where its picture is classified."""

    name: str
    data: bytes
    reason: str | None


@cache
def polyglots() -> dict[str, Crafted]:
    """Files that are something else as well. What is kept of them is their picture alone."""
    jpeg, png, dicom = (make(1, **_SMALL) for make in (lesion_jpeg, lesion_png, lesion_dicom))
    archive = zipped({"inner.txt": MARK})
    chunks = list(png_chunks(png))
    return {
        "a scanner's test file": Crafted("a.jpg", EICAR, "not_an_image"),
        "a scanner's test file behind a JPEG": Crafted("a.jpg", jpeg + EICAR + MARK, None),
        "a JPEG with a page in its comment": Crafted("a.jpg", jpeg_with(jpeg, (0xFE, SCRIPT)), None),
        "a JPEG with names and places": Crafted(
            "a.jpg",
            jpeg_with(jpeg, (0xE1, b"Exif\0\0" + exif(6) + MARK), (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + MARK)),
            None,
        ),
        "a JPEG with a thumbnail of another picture": Crafted(
            "a.jpg", jpeg_with(jpeg, (0xE0, b"JFXX\0\x10" + MARK)), None
        ),
        "a JPEG that is a ZIP": Crafted("a.jpg", jpeg + archive, None),
        "a JPEG that is a page": Crafted("a.html", SCRIPT + jpeg, "not_an_image"),
        "a PNG with a page in its text": Crafted(
            "a.png", png_of(chunks[0], (b"tEXt", b"Comment\0" + SCRIPT), *chunks[1:]), None
        ),
        "a PNG that is a ZIP": Crafted("a.png", png + archive, None),
        "a GIF that is an archive of Java": Crafted("a.gif", b"GIF89a" + archive, "not_an_image"),
        "a PDF that is a JPEG": Crafted("a.pdf", b"%PDF-1.7\n" + jpeg, "not_an_image"),
        "a drawing with a script": Crafted("a.svg", b"<svg onload='alert(1)'>" + MARK, "not_an_image"),
        "a DICOM object that is a Windows program": Crafted("a.dcm", b"MZ" + MARK + dicom[2 + len(MARK) :], None),
        "a DICOM object that is a TIFF": Crafted("a.dcm", b"II*\0" + dicom[4:], None),
        "a DICOM object that begins like a JPEG": Crafted("a.dcm", b"\xff\xd8\xff" + dicom[3:], None),
        "a DICOM object called JPEG": Crafted("a.jpg", dicom, "wrong_suffix"),
    }  # fmt: skip


@cache
def of_other_codecs() -> dict[str, bytes]:
    """A picture in every format that this OpenCV can write and we do not take, each of which it would also read."""
    pixels = lesion_image(1, **_SMALL)
    found = {}
    for suffix in (
        ".tiff",
        ".jp2",
        ".webp",
        ".bmp",
        ".ppm",
        ".pgm",
        ".pam",
        ".ras",
        ".hdr",
        ".pic",
        ".gif",
        ".avif",
    ):
        try:
            shown = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if suffix == ".pgm" else pixels
            written, data = cv2.imencode(
                suffix, shown.astype(np.float32) if suffix in {".hdr", ".pic"} else shown
            )
        except cv2.error:
            continue
        if written:
            found[suffix] = data.tobytes()
    # OpenCV writes and reads it only where a variable of the environment says so.
    found[".exr"] = b"\x76\x2f\x31\x01\x02\0\0\0" + bytes(300)
    return found


@cache
def bombs() -> dict[str, Crafted]:
    """A little that would become very much. None has more than two megabytes."""
    return {
        "a JPEG of 4 gigapixels": Crafted("a.jpg", _jpeg_of(LARGEST, LARGEST), "too_large"),
        "a PNG of 4 gigapixels": Crafted("a.png", png_of(png_header(LARGEST, LARGEST)), "too_large"),
        "a PNG of 4 quintillion pixels": Crafted(
            "a.png", png_of(png_header(2**31 - 1, 2**31 - 1)), "too_large"
        ),
        "a DICOM object of 4 gigapixels": Crafted("a.dcm", _dicom_of(LARGEST, LARGEST), "too_large"),
        "a DICOM object around a JPEG of 4 gigapixels": Crafted("a.dcm", _dicom_around_bomb(), "too_large"),
        "a PNG whose data are a gigabyte": Crafted("a.png", _png_bomb(), "corrupt"),
        "a PNG with a text of a gigabyte": Crafted("a.png", _png_bomb_in_its_text(), None),
        "a JPEG with 90 scans of 49 megapixels": Crafted("a.jpg", _jpeg_of_many_scans(), "corrupt"),
        "a deflated DICOM object of a gigabyte": Crafted("a.dcm", _deflated_dicom(), "dicom_unsupported"),
        "a ZIP of a gigabyte": Crafted("a.zip", _zip_bomb(), "archive_bomb"),
        "a ZIP whose entries overlap": Crafted("a.zip", _overlapping_zip(), "archive_bomb"),
        "a ZIP of ZIPs": Crafted("a.zip", zipped({"b.zip": _zip_bomb()}), "nested_archive"),
        "a tar.gz of a gigabyte": Crafted("a.tar.gz", _tar_bomb(), "archive_bomb"),
    }


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


@cache
def _deflated_zeros() -> bytes:
    """A gigabyte, as deflate without header or checksum."""
    deflater = zlib.compressobj(9, wbits=-15)
    step = deflater.compress(bytes(16 * _MEGABYTE)) + deflater.flush(zlib.Z_FULL_FLUSH)
    return step * 64 + deflater.flush()


def _gzip_around(deflated: bytes) -> bytes:
    return gzip.compress(b"")[:10] + deflated + bytes(8)


def _jpeg_of(width: int, height: int) -> bytes:
    jpeg = lesion_jpeg(1, **_SMALL)
    return with_frame(jpeg, frame_header(width, height))


def _png_bomb() -> bytes:
    return png_of(png_header(96, 72), (b"IDAT", b"\x78\xda" + _deflated_zeros()), (b"IEND", b""))


def _png_bomb_in_its_text() -> bytes:
    chunks = list(png_chunks(lesion_png(1, **_SMALL)))
    text = b"Comment\0\0\x78\xda" + _deflated_zeros()
    return png_of(chunks[0], (b"zTXt", text), (b"iCCP", b"profile" + text[7:]), *chunks[1:])


def _jpeg_of_many_scans() -> bytes:
    grey = np.full((7000, 7000), 127, np.uint8)
    data = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * 80 + data[-2:]


def _dicom(**tags: object) -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(lesion_dicom(1, coding="native", **_SMALL)))
    for name, value in tags.items():
        setattr(dataset, name, value)
    stream = io.BytesIO()
    dataset.save_as(stream)
    return stream.getvalue()


def _dicom_of(width: int, height: int) -> bytes:
    return _dicom(Rows=height, Columns=width)


def _dicom_around_bomb() -> bytes:
    dicom = lesion_dicom(1, coding="jpeg", **_SMALL)
    at = dicom.index(b"\xff\xd8\xff")
    frame = at + jpeg_frame_at(dicom[at:]) + 5
    return dicom[:frame] + struct.pack(">HH", LARGEST, LARGEST) + dicom[frame + 4 :]


def _deflated_dicom() -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(lesion_dicom(1, coding="native", **_SMALL)))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    del dataset.PixelData
    stream = io.BytesIO()
    dataset.save_as(stream, implicit_vr=False, little_endian=True)
    return stream.getvalue()[:-2] + _deflated_zeros()


def _zip_bomb() -> bytes:
    """One entry that declares its size honestly."""
    return _zip_around(_deflated_zeros())


def _overlapping_zip() -> bytes:
    """A hundred entries in the directory which all lead to the same gigabyte."""
    return _zip_around(_deflated_zeros(), listed=100)


def _zip_around(data: bytes, listed: int = 1) -> bytes:
    sizes = (len(data), 50 * _MEGABYTE)
    local = struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", 20, 0, 8, 0, 0, 0, *sizes, 5, 0) + b"x.jpg" + data
    entry = (
        struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 8, 0, 0, 0, *sizes, 5, *(0,) * 4, 0, 0)
        + b"x.jpg"
    )
    directory = entry * listed
    return (
        local
        + directory
        + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, listed, listed, len(directory), len(local), 0)
    )


def _tar_bomb() -> bytes:
    entry = tarfile.TarInfo("x.jpg")
    entry.size = 2**30
    deflater = zlib.compressobj(9, wbits=-15)
    header = deflater.compress(entry.tobuf(tarfile.GNU_FORMAT)) + deflater.flush(zlib.Z_FULL_FLUSH)
    return _gzip_around(header + _deflated_zeros())
