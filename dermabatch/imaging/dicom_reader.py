"""Reading DICOM. Runs only inside a sandboxed decoder: the file is untrusted and the parser is large."""

import io
import re
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.charset import python_encoding
from pydicom.encaps import generate_frames

# Not public, but the only way to learn how a file is coded before a deflated one is unpacked.
from pydicom.filereader import _read_file_meta_info, read_preamble
from pydicom.uid import (
    UID,
    DermoscopicPhotographyImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    VLPhotographicImageStorage,
)

from dermabatch.errors import ImageRejected
from dermabatch.imaging.dicom import DicomImage, DicomTags
from dermabatch.imaging.limits import check_dimensions
from dermabatch.imaging.rejection import RejectionReason

_CLASSES: Final = {DermoscopicPhotographyImageStorage, VLPhotographicImageStorage}
_NATIVE: Final = {ImplicitVRLittleEndian, ExplicitVRLittleEndian}
_JPEG_COLOURS: Final = {"YBR_FULL_422", "YBR_FULL", "MONOCHROME2"}
"""Objects that say RGB of a JPEG hold now RGB, now YCbCr; the JPEG does not tell which."""

_CHANNELS: Final = {"RGB": 3, "YBR_FULL": 3, "MONOCHROME2": 1}
_SEXES: Final = {"M": "male", "F": "female"}
_AGE: Final = re.compile(r"(\d{3})([DWMY])")


def extract_image(data: bytes) -> DicomImage:
    """Take the single frame and four tags out of a Dermoscopic or VL Photographic object.

    Args:
        data: a DICOM file with its preamble.

    Returns:
        The frame's own JPEG bytes, or a lossless PNG of native 8-bit pixels, and the tags.

    Raises:
        ImageRejected: dicom_unsupported, unsupported_bit_depth, too_large, too_small, truncated or corrupt.
    """
    try:
        _check_coding(data)
        dataset = pydicom.dcmread(io.BytesIO(data))
        _check_kind(dataset)
        return DicomImage(_frame(dataset), _tags(dataset))
    except (ImageRejected, MemoryError):
        raise
    except Exception as error:  # pydicom raises whatever its input makes it trip over
        raise _corrupt(f"its reader gave up ({type(error).__name__})") from error


def warm_up() -> None:
    """Load what pydicom and Python load on first use: a confined decoder can open no file."""
    for encoding in {*python_encoding.values(), "latin-1"}:
        "".encode(encoding)


def _check_coding(data: bytes) -> None:
    stream = io.BytesIO(data)
    read_preamble(stream, force=False)
    coding = UID(_read_file_meta_info(stream).TransferSyntaxUID)
    if coding not in {JPEGBaseline8Bit, *_NATIVE}:
        raise _unsupported(f"expected JPEG baseline or uncompressed pixels, received {coding.name}")


def _check_kind(dataset: pydicom.Dataset) -> None:
    kind = UID(dataset.get("SOPClassUID", ""))
    if kind not in _CLASSES:
        raise _unsupported(
            f"expected a Dermoscopic or VL Photographic image, received {kind.name or 'no kind at all'}"
        )
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1:
        raise _unsupported(f"expected a single picture, received {frames} frames")
    if dataset.get("BitsAllocated") != 8:
        raise ImageRejected(
            RejectionReason.UNSUPPORTED_BIT_DEPTH,
            f"the DICOM object has {dataset.get('BitsAllocated')} bits a channel: expected 8",
        )
    check_dimensions(int(dataset.Columns), int(dataset.Rows))


def _frame(dataset: pydicom.Dataset) -> bytes:
    coding = UID(dataset.file_meta.TransferSyntaxUID)
    colours = str(dataset.get("PhotometricInterpretation"))
    if coding == JPEGBaseline8Bit:
        if colours not in _JPEG_COLOURS:
            raise _unsupported(f"expected a JPEG with colours as YBR_FULL_422, received {colours}")
        return next(generate_frames(dataset.PixelData, number_of_frames=1))
    written, png = cv2.imencode(".png", _native_pixels(dataset, colours))
    assert written
    return png.tobytes()


def _native_pixels(dataset: pydicom.Dataset, colours: str) -> npt.NDArray[np.uint8]:
    """uint8[H, W, 3] in OpenCV's order BGR, or uint8[H, W]."""
    channels = _CHANNELS.get(colours)
    if channels is None or channels != dataset.SamplesPerPixel:
        raise _unsupported(f"expected colours as RGB, YBR_FULL or MONOCHROME2, received {colours}")
    height, width = int(dataset.Rows), int(dataset.Columns)
    expected = height * width * channels
    if len(dataset.PixelData) < expected:
        raise ImageRejected(
            RejectionReason.TRUNCATED,
            f"the DICOM object is cut off: expected {expected} bytes of pixels, received"
            f" {len(dataset.PixelData)}",
        )
    flat = np.frombuffer(dataset.PixelData, np.uint8, expected)
    if channels == 1:
        return flat.reshape(height, width)
    if dataset.get("PlanarConfiguration", 0) == 1:
        pixels = np.ascontiguousarray(flat.reshape(3, height, width).transpose(1, 2, 0))
    else:
        pixels = flat.reshape(height, width, 3)
    if colours == "YBR_FULL":
        # DICOM orders Y, CB, CR; OpenCV wants Y, CR, CB.
        return cv2.cvtColor(np.ascontiguousarray(pixels[..., [0, 2, 1]]), cv2.COLOR_YCrCb2BGR)  # type: ignore[return-value]
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)  # type: ignore[return-value]


def _tags(dataset: pydicom.Dataset) -> DicomTags:
    return DicomTags(
        patient=_text(dataset.get("PatientID")),
        age=_age(str(dataset.get("PatientAge") or "")),
        sex=_SEXES.get(str(dataset.get("PatientSex") or "").upper()),
        localization=_localization(dataset),
    )


def _age(text: str) -> int | None:
    match = _AGE.fullmatch(text.strip())
    if match is None:
        return None
    return int(match[1]) // {"Y": 1, "M": 12, "W": 52, "D": 365}[match[2]]


def _localization(dataset: pydicom.Dataset) -> str | None:
    regions = dataset.get("AnatomicRegionSequence")
    meaning = regions[0].get("CodeMeaning") if regions else None
    found = _text(meaning) or _text(dataset.get("BodyPartExamined"))
    return found.lower() if found else None


def _text(value: object) -> str | None:
    """A tag of at most 64 characters (VR LO). A longer one is not cut: two patients' numbers could become the same."""
    text = str(value or "").strip()
    return text if 0 < len(text) <= 64 else None


def _unsupported(what: str) -> ImageRejected:
    return ImageRejected(RejectionReason.DICOM_UNSUPPORTED, f"this DICOM object cannot be read: {what}")


def _corrupt(what: str) -> ImageRejected:
    return ImageRejected(RejectionReason.CORRUPT, f"the DICOM object is damaged: {what}")
