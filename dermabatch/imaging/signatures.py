"""What kind of file this is, by its first bytes, and which kind its name promises."""

from pathlib import PurePosixPath
from typing import Final

from dermabatch.imaging import jpeg, png

DICOM_PREAMBLE: Final = 128
"""Bytes of any content before the letters DICM."""

_PREFIXES: Final = (
    (jpeg.SIGNATURE, "JPEG"),
    (png.SIGNATURE, "PNG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"8BPS", "Photoshop"),
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "ZIP"),
    (b"\x1f\x8b", "gzip"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (b"Rar!", "RAR"),
    (b"MZ", "Windows program"),
    (b"\x7fELF", "Linux program"),
)
_BRANDS: Final = {b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIC", b"avif": "AVIF", b"qt  ": "QuickTime"}
_SUFFIXES: Final = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "DICOM": (".dcm", ".dicom", ".dic"),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "WebP": (".webp",),
    "HEIC": (".heic", ".heif"),
    "AVIF": (".avif",),
    "JPEG 2000": (".jp2", ".j2k", ".jpx"),
    "PDF": (".pdf",),
    "ZIP": (".zip",),
    "text": (".txt", ".csv", ".json", ".xml", ".html", ".md"),
}
_FORMAT_OF_SUFFIX: Final = {suffix: name for name, suffixes in _SUFFIXES.items() for suffix in suffixes}


def content_format(data: bytes) -> str:
    """The name of a file's format as people call it: "JPEG", "GIF", "text", or "a file of unknown kind"."""
    if not data:
        return "an empty file"
    if data[DICOM_PREAMBLE : DICOM_PREAMBLE + 4] == b"DICM":
        return "DICOM"
    for prefix, name in _PREFIXES:
        if data.startswith(prefix):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12], "MP4")
    return "text" if _is_text(data[:512]) else "a file of unknown kind"


def format_of_name(filename: str) -> str | None:
    """The format that a file's suffix promises; None where it has none, or one that promises nothing known."""
    return _FORMAT_OF_SUFFIX.get(PurePosixPath(filename.replace("\\", "/")).suffix.lower())


def _is_text(start: bytes) -> bool:
    return all(byte >= 0x20 or byte in b"\t\n\r\f" for byte in start)
