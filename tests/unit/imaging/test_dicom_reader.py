"""DICOM objects: which are read, what leaves them, and which are refused."""

import contextlib
import io
from collections.abc import Callable

import cv2
import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    SecondaryCaptureImageStorage,
    VLPhotographicImageStorage,
)

from dermabatch.errors import ImageRejected
from dermabatch.imaging.dicom import DicomTags
from dermabatch.imaging.dicom_reader import extract_image
from dermabatch.imaging.synthetic import lesion_image, lesion_jpeg
from dermabatch.imaging.synthetic_dicom import lesion_dicom

PIXELS = lesion_image(1, width=120, height=90)
Change = Callable[[pydicom.FileDataset], object]


def changed(change: Change, coding: str = "native") -> bytes:
    dataset = pydicom.dcmread(
        io.BytesIO(lesion_dicom(1, width=120, height=90, coding=coding, patient="P-17"))
    )
    change(dataset)
    written = io.BytesIO()
    dataset.save_as(written, enforce_file_format=True)
    return written.getvalue()


def pixels_of(data: bytes) -> np.ndarray:
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(extract_image(data).data, np.uint8), 1), cv2.COLOR_BGR2RGB)


def refusal_of(data: bytes) -> ImageRejected:
    with pytest.raises(ImageRejected) as refusal:
        extract_image(data)
    return refusal.value


def test_the_bytes_of_an_encapsulated_jpeg_leave_unchanged() -> None:
    assert extract_image(lesion_dicom(1)).data.rstrip(b"\0") == lesion_jpeg(1)


def test_a_jpeg_in_several_fragments_is_put_together() -> None:
    def split(dataset: pydicom.FileDataset) -> None:
        dataset.PixelData = encapsulate([lesion_jpeg(1)], fragments_per_frame=3)

    assert extract_image(changed(split, "jpeg")).data.rstrip(b"\0") == lesion_jpeg(1)


def test_native_pixels_leave_as_a_lossless_png() -> None:
    assert np.array_equal(pixels_of(lesion_dicom(1, width=120, height=90, coding="native")), PIXELS)


def test_vl_photographic_objects_are_read() -> None:
    def photograph(dataset: pydicom.FileDataset) -> None:
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = VLPhotographicImageStorage

    assert np.array_equal(pixels_of(changed(photograph)), PIXELS)


def test_implicit_transfer_syntax_is_read() -> None:
    def implicit(dataset: pydicom.FileDataset) -> None:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        dataset["PixelData"].VR = "OW"

    assert np.array_equal(pixels_of(changed(implicit)), PIXELS)


def test_colour_planes_are_put_together() -> None:
    def planes(dataset: pydicom.FileDataset) -> None:
        dataset.PlanarConfiguration = 1
        dataset.PixelData = PIXELS.transpose(2, 0, 1).tobytes()

    assert np.array_equal(pixels_of(changed(planes)), PIXELS)


def test_ybr_full_is_converted_to_the_same_colours() -> None:
    def ybr(dataset: pydicom.FileDataset) -> None:
        dataset.PhotometricInterpretation = "YBR_FULL"
        dataset.PixelData = cv2.cvtColor(PIXELS, cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]].tobytes()

    assert np.abs(pixels_of(changed(ybr)).astype(int) - PIXELS).max() <= 2


def test_monochrome2_becomes_grey() -> None:
    def grey(dataset: pydicom.FileDataset) -> None:
        dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "MONOCHROME2", 1
        dataset.PixelData = PIXELS[..., 0].tobytes()

    assert np.array_equal(pixels_of(changed(grey)), np.dstack([PIXELS[..., 0]] * 3))


def test_four_tags_leave_an_object_and_nothing_else() -> None:
    data = lesion_dicom(1, patient="Ünal-17", age=54, sex="female", localization="Upper arm")
    assert extract_image(data).tags == DicomTags("Ünal-17", 54, "female", "upper arm")


def test_an_object_that_says_nothing_of_its_patient_has_empty_tags() -> None:
    assert extract_image(lesion_dicom(1)).tags == DicomTags()


@pytest.mark.parametrize(
    ("written", "years"), [("054Y", 54), ("030M", 2), ("011M", 0), ("104W", 2), ("400D", 1), ("54", None)]
)
def test_ages_are_read_in_years(written: str, years: int | None) -> None:
    with pydicom.config.disable_value_validation():
        data = changed(lambda dataset: setattr(dataset, "PatientAge", written))
    assert extract_image(data).tags.age == years


def test_the_body_part_stands_in_for_a_missing_region() -> None:
    assert (
        extract_image(changed(lambda d: setattr(d, "BodyPartExamined", "FOOT"))).tags.localization == "foot"
    )


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, of the length
def test_a_patient_number_longer_than_the_standard_allows_is_left_out_not_cut() -> None:
    with pydicom.config.disable_value_validation():
        data = changed(lambda dataset: setattr(dataset, "PatientID", "7" * 65))
    assert extract_image(data).tags.patient is None


def test_another_kind_of_object_is_refused_by_its_name() -> None:
    def capture(dataset: pydicom.FileDataset) -> None:
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage

    refusal = refusal_of(changed(capture))
    assert refusal.reason == "dicom_unsupported"
    assert "received Secondary Capture Image Storage" in str(refusal)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("NumberOfFrames", 2, "dicom_unsupported"),
        ("BitsAllocated", 16, "unsupported_bit_depth"),
        ("PhotometricInterpretation", "PALETTE COLOR", "dicom_unsupported"),
        ("SamplesPerPixel", 1, "dicom_unsupported"),
        ("Rows", 8, "too_small"),
        ("Rows", 91, "truncated"),
        ("SOPClassUID", "", "dicom_unsupported"),
    ],
)
def test_what_cannot_be_read_rightly_is_refused(name: str, value: object, reason: str) -> None:
    assert refusal_of(changed(lambda dataset: setattr(dataset, name, value))).reason == reason


def test_a_bomb_is_refused_from_its_header() -> None:
    def huge(dataset: pydicom.FileDataset) -> None:
        dataset.Rows = dataset.Columns = 65535

    assert refusal_of(changed(huge)).reason == "too_large"


def test_a_jpeg_said_to_hold_rgb_is_refused_because_its_colours_are_uncertain() -> None:
    data = changed(lambda dataset: setattr(dataset, "PhotometricInterpretation", "RGB"), "jpeg")
    assert refusal_of(data).reason == "dicom_unsupported"


def test_another_coding_is_refused_by_its_name() -> None:
    def recoded(dataset: pydicom.FileDataset) -> None:
        dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless

    refusal = refusal_of(changed(recoded, "jpeg"))
    assert refusal.reason == "dicom_unsupported"
    assert "JPEG 2000" in str(refusal)


def test_an_object_without_pixels_is_damaged() -> None:
    assert refusal_of(changed(lambda dataset: delattr(dataset, "PixelData"))).reason == "corrupt"


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, of the damage
@given(st.data())
def test_any_damage_is_an_outcome_and_never_another_error(data: st.DataObject) -> None:
    whole = lesion_dicom(1, width=64, height=64, coding="native", patient="P-17", localization="back")
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(0, 8))):
        damaged[data.draw(st.integers(132, 1200))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ImageRejected):
        extract_image(bytes(damaged[: data.draw(st.integers(132, len(whole)))]))
