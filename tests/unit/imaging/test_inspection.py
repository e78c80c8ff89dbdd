"""The judgement of a file by its content and its name."""

import pytest

from dermabatch.errors import ImageRejected
from dermabatch.imaging.inspection import ImageFormat, Inspected, inspect
from dermabatch.imaging.operations import extract_dicom
from dermabatch.imaging.synthetic import lesion_jpeg, lesion_png
from dermabatch.imaging.synthetic_dicom import lesion_dicom

JPEG, PNG, DICOM = lesion_jpeg(1), lesion_png(1), lesion_dicom(1, patient="P-17")


def refusal_of(data: bytes, filename: str) -> ImageRejected:
    with pytest.raises(ImageRejected) as refusal:
        inspect(data, filename, extract_dicom=extract_dicom)
    return refusal.value


def test_a_jpeg_is_taken() -> None:
    assert inspect(JPEG, "lesion.jpg") == Inspected(ImageFormat.JPEG, 600, 450, 1, JPEG, "image/jpeg")


def test_a_png_is_taken() -> None:
    assert inspect(PNG, "lesion.png") == Inspected(ImageFormat.PNG, 600, 450, 1, PNG, "image/png")


def test_a_dicom_object_is_taken_as_the_picture_inside_it() -> None:
    inspected = inspect(DICOM, "lesion.dcm", extract_dicom=extract_dicom)
    assert (inspected.format, inspected.content_type) == (ImageFormat.DICOM, "image/jpeg")
    assert inspected.stripped == JPEG
    assert inspected.tags is not None
    assert inspected.tags.patient == "P-17"


@pytest.mark.parametrize(
    "name", ["LESION.JPG", "in/a/folder.v2/lesion.jpeg", "C:\\pictures\\lesion.jpe", "lesion", "1.2.840"]
)
def test_names_without_a_promise_and_in_capitals_are_taken(name: str) -> None:
    assert inspect(JPEG, name).format is ImageFormat.JPEG


@pytest.mark.parametrize(
    ("data", "received"),
    [
        (b"GIF89a" + bytes(30), "GIF"),
        (b"BM" + bytes(30), "BMP"),
        (b"II*\0" + bytes(30), "TIFF"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "WebP"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"\0\0\0\x18ftypavif\0\0\0\0", "AVIF"),
        (b"%PDF-1.7", "PDF"),
        (b"PK\x03\x04" + bytes(30), "ZIP"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "text"),
        (b"\x00\x01\x02\x03", "a file of unknown kind"),
        (b"", "an empty file"),
    ],
)
def test_another_kind_of_file_is_refused_by_its_name(data: bytes, received: str) -> None:
    refusal = refusal_of(data, "lesion.jpg")
    assert refusal.reason == "not_an_image"
    assert str(refusal) == f"not a dermatoscopic image file: expected JPEG, PNG or DICOM, received {received}"


@pytest.mark.parametrize(
    ("data", "name", "message"),
    [
        (JPEG, "lesion.png", "the name says PNG but the file holds JPEG: rename it or export it again"),
        (PNG, "lesion.JPG", "the name says JPEG but the file holds PNG: rename it or export it again"),
        (DICOM, "lesion.jpg", "the name says JPEG but the file holds DICOM: rename it or export it again"),
        (JPEG, "notes.txt", "the name says text but the file holds JPEG: rename it or export it again"),
    ],
)
def test_a_suffix_of_another_format_is_refused_and_named(data: bytes, name: str, message: str) -> None:
    refusal = refusal_of(data, name)
    assert (refusal.reason, str(refusal)) == ("wrong_suffix", message)


def test_a_file_of_more_than_64_megabytes_is_refused() -> None:
    assert refusal_of(bytes(64 * 2**20 + 1), "lesion.jpg").reason == "too_large"


def test_dicom_is_refused_where_there_is_no_sandbox_to_read_it_in() -> None:
    with pytest.raises(ImageRejected) as refusal:
        inspect(DICOM, "lesion.dcm")
    assert refusal.value.reason == "dicom_unsupported"
