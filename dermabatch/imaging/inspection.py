"""Is this file a picture we can judge? Answered at intake from signature, header and structure, undecoded.

What passes here may still fail in the one full decode, which is the worker's and sandboxed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from dermabatch.errors import ImageRejected
from dermabatch.imaging.dicom import DicomImage, DicomTags
from dermabatch.imaging.jpeg import inspect_jpeg
from dermabatch.imaging.limits import check_bytes
from dermabatch.imaging.png import inspect_png
from dermabatch.imaging.rejection import RejectionReason
from dermabatch.imaging.signatures import content_format, format_of_name


class ImageFormat(StrEnum):
    """The formats that are taken in."""

    JPEG = "jpeg"
    PNG = "png"
    DICOM = "dicom"


@dataclass(frozen=True, slots=True)
class Inspected:
    """A picture that may be stored.

    Attributes:
        format: what the file was when it came.
        width, height: pixels, as a person sees the picture: after `orientation` is applied.
        orientation: 1 to 8 as in EXIF, to be applied by the decoder; `stripped` no longer holds it.
        stripped: the JPEG or PNG without any metadata, its picture data unchanged.
        content_type: media type of `stripped`.
        tags: what a DICOM object says of its patient; None for the other formats.
    """

    format: ImageFormat
    width: int
    height: int
    orientation: int
    stripped: bytes
    content_type: str
    tags: DicomTags | None = None


def inspect(
    data: bytes, filename: str, *, extract_dicom: Callable[[bytes], DicomImage] | None = None
) -> Inspected:
    """Judge one file and strip it.

    Args:
        data: the whole file.
        filename: as the sender calls it, with or without folders; only its suffix is looked at.
        extract_dicom: `DecoderPool.extract_dicom`, which reads DICOM in the sandbox; DICOM is refused without.

    Raises:
        ImageRejected: the reason and a message for the person who sent the file.
        DecoderDied: the DICOM reader was stopped by this file.
    """
    check_bytes(len(data))
    found = content_format(data)
    if found.lower() not in set(ImageFormat):
        raise ImageRejected(
            RejectionReason.NOT_AN_IMAGE,
            f"not a dermatoscopic image file: expected JPEG, PNG or DICOM, received {found}",
        )
    promised = format_of_name(filename)
    if promised not in (None, found):
        raise ImageRejected(
            RejectionReason.WRONG_SUFFIX,
            f"the name says {promised} but the file holds {found}: rename it or export it again",
        )
    if found != "DICOM":
        return _inspect_plain(data, ImageFormat(found.lower()))
    if extract_dicom is None:
        raise ImageRejected(RejectionReason.DICOM_UNSUPPORTED, "DICOM is not read here: expected JPEG or PNG")
    dicom = extract_dicom(data)
    return _inspect_plain(dicom.data, ImageFormat.DICOM, dicom.tags)


def _inspect_plain(data: bytes, came_as: ImageFormat, tags: DicomTags | None = None) -> Inspected:
    if content_format(data) == "PNG":
        picture, content_type = inspect_png(data), "image/png"
    else:
        picture, content_type = inspect_jpeg(data), "image/jpeg"
    return Inspected(
        format=came_as,
        width=picture.width,
        height=picture.height,
        orientation=picture.orientation,
        stripped=picture.stripped,
        content_type=content_type,
        tags=tags,
    )
