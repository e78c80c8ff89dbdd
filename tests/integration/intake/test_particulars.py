"""Whose picture it is: from the CSV, or from the DICOM object where the CSV says nothing."""

import io

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, generate_uid

from dermabatch.lifecycle import ImageState
from dermabatch.subjects import data_key, open_text
from tests.integration.intake.conftest import Intake, incoming, picture, pictures


def dicom(seed: int = 1, **tags: str) -> bytes:
    """A Dermoscopic Photography object around a JPEG."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.7"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.Rows, dataset.Columns = 72, 96
    dataset.SamplesPerPixel, dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 3, 8, 8, 7
    dataset.PhotometricInterpretation = "YBR_FULL_422"
    dataset.PixelRepresentation = 0
    dataset.PixelData = encapsulate([picture(seed)])
    for name, value in tags.items():
        setattr(dataset, name, value)
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


FULL = {"PatientID": "D-1", "PatientAge": "045Y", "PatientSex": "F", "BodyPartExamined": "SKIN"}


def patient_of(intake: Intake, image) -> str:
    return open_text(image.subject.patient_sealed, data_key(intake.keyring, image), image.subject_id)


def test_the_csv_says_whose_picture_it_is(intake: Intake):
    acceptance = intake.upload(
        pictures(2),
        metadata="file,patient,lesion_id,age,sex,localization\n0.jpg,P-1,L-1,45,m,Back\n1.jpg,P-1,L-1,45,m,Back\n",
    )
    first, second = intake.images(acceptance.batch_id)
    assert patient_of(intake, first) == "P-1"
    assert (first.age, first.sex, first.localization) == (45, "male", "back")
    assert first.subject_id == second.subject_id
    assert first.lesion_id == second.lesion_id
    assert open_text(first.lesion.label_sealed, data_key(intake.keyring, first), first.lesion_id) == "L-1"


def test_a_patient_is_found_again_in_a_later_batch(intake: Intake):
    batches = [
        intake.upload([incoming("a.jpg", picture(n))], metadata="file,patient\na.jpg,P-1\n") for n in (1, 2)
    ]
    (first,), (second,) = (intake.images(batch.batch_id) for batch in batches)
    assert first.subject_id == second.subject_id


def test_a_label_is_another_lesion_for_another_patient_and_in_another_batch(intake: Intake):
    rows = "file,patient,lesion_id\n0.jpg,P-1,1\n1.jpg,P-2,1\n2.jpg,,1\n"
    lesions = [
        image.lesion_id
        for start in (0, 1)
        for image in intake.images(
            intake.upload(
                [incoming(f"{n}.jpg", picture(10 * start + n)) for n in range(3)], metadata=rows
            ).batch_id
        )
    ]
    assert lesions[:2] == lesions[3:5]  # the same patients again
    assert len(set(lesions)) == 4


def test_dicom_says_whose_picture_it_is(intake: Intake):
    (image,) = intake.images(intake.upload([incoming("x.dcm", dicom(**FULL))]).batch_id)
    assert image.state is ImageState.PENDING
    assert patient_of(intake, image) == "D-1"
    assert (image.format, image.age, image.sex, image.localization) == ("dicom", 45, "female", "skin")


def test_the_csv_is_believed_before_dicom_and_value_by_value(intake: Intake):
    acceptance = intake.upload(
        [incoming("x.dcm", dicom(**FULL))], metadata="file,patient,age,sex\nx.dcm,P-1,46,\n"
    )
    (image,) = intake.images(acceptance.batch_id)
    assert patient_of(intake, image) == "P-1"
    assert (image.age, image.sex) == (46, "female")


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize(
    "tags",
    [{"PatientAge": "999Y"}, {"PatientID": "x" * 65}, {"PatientSex": "O"}, {"BodyPartExamined": "A\x07B"}],
)
def test_what_dicom_cannot_mean_is_left_out(intake: Intake, tags: dict[str, str]):
    (image,) = intake.images(intake.upload([incoming("x.dcm", dicom(**tags))]).batch_id)
    assert image.state is ImageState.PENDING
    assert (image.age, image.sex, image.subject_id) == (None, None, None)


def test_a_refused_file_belongs_to_its_patient_too(intake: Intake):
    """Its name may hold the patient's, and must go when the patient is erased."""
    acceptance = intake.upload([incoming("a.txt", b"x"), *pictures(1)], metadata="file,patient\na.txt,P-1\n")
    refused, _good = intake.images(acceptance.batch_id)
    assert patient_of(intake, refused) == "P-1"
