"""Synthetic lesions as DICOM objects, such as a hospital's dermatoscope station would send."""

import io
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DermoscopicPhotographyImageStorage,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    generate_uid,
)

from dermabatch.imaging.lesion_painting import Kind
from dermabatch.imaging.synthetic import lesion_image, lesion_jpeg


def lesion_dicom(
    seed: int,
    *,
    width: int = 600,
    height: int = 450,
    kind: Kind | None = None,
    coding: Literal["jpeg", "native"] = "jpeg",
    patient: str | None = None,
    age: int | None = None,
    sex: Literal["male", "female"] | None = None,
    localization: str | None = None,
) -> bytes:
    """One lesion as a Dermoscopic Photography object; the same arguments make the same bytes.

    Args:
        seed, width, height, kind: as for `lesion_image`.
        coding: JPEG baseline, or uncompressed RGB.
        patient: Patient ID.
        age: years.
        sex: as written in Patient's Sex.
        localization: meaning of the anatomic region's code.
    """
    dataset = _with_patient(_object(str(seed), coding), patient, age, sex, localization)
    dataset.Rows, dataset.Columns = height, width
    dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    if coding == "jpeg":
        dataset.PhotometricInterpretation = "YBR_FULL_422"
        dataset.PixelData = encapsulate([lesion_jpeg(seed, width=width, height=height, kind=kind)])
    else:
        dataset.PhotometricInterpretation = "RGB"
        dataset.PixelData = _even(lesion_image(seed, width=width, height=height, kind=kind))
    written = io.BytesIO()
    dataset.save_as(written, enforce_file_format=True)
    return written.getvalue()


def _object(name: str, coding: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DermoscopicPhotographyImageStorage
    meta.MediaStorageSOPInstanceUID = _uid("instance", name)
    meta.TransferSyntaxUID = JPEGBaseline8Bit if coding == "jpeg" else ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = _uid("study", name), _uid("series", name)
    dataset.Modality, dataset.ImageType = "DMS", ["ORIGINAL", "PRIMARY"]
    dataset.SpecificCharacterSet = "ISO_IR 192"
    return dataset


def _with_patient(
    dataset: FileDataset, patient: str | None, age: int | None, sex: str | None, localization: str | None
) -> FileDataset:
    dataset.PatientName, dataset.PatientID = "Synthetic^Patient", patient or ""
    dataset.PatientAge = "" if age is None else f"{age:03}Y"
    dataset.PatientSex = {"male": "M", "female": "F", None: ""}[sex]
    if localization is not None:
        region = Dataset()
        region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = "0", "99SYNTHETIC", localization
        dataset.AnatomicRegionSequence = [region]
    return dataset


def _uid(kind: str, name: str) -> UID:
    return generate_uid(entropy_srcs=["dermabatch", kind, name])


def _even(pixels: npt.NDArray[np.uint8]) -> bytes:
    """DICOM values have an even length."""
    return pixels.tobytes() + b"\0" * (pixels.size % 2)
