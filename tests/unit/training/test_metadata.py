"""Tables of images as others publish them, each under its own names for the same columns."""

import cv2
import numpy as np
import pytest

from dermabatch.taxonomy import CLASSES
from training.data import inspect_samples, read_samples
from training.errors import UnusableData


@pytest.fixture
def folder(tmp_path):
    """Three images, one of each kind of file, at different depths."""
    (tmp_path / "Training_Input" / "deep").mkdir(parents=True)
    for name in ("ISIC_1.jpg", "Training_Input/ISIC_2.JPEG", "Training_Input/deep/ISIC_3.png"):
        written, data = cv2.imencode(f".{name.rpartition('.')[2].lower()}", np.zeros((6, 8, 3), np.uint8))
        assert written
        (tmp_path / name).write_bytes(data.tobytes())
    return tmp_path


def classes(samples):
    return [CLASSES[sample.label] for sample in samples]


def test_the_challenge_of_2018_with_its_lesion_groupings(folder):
    (folder / "ISIC2018_Task3_Training_GroundTruth.csv").write_text(
        "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\n"
        "ISIC_1,0.0,1.0,0.0,0.0,0.0,0.0,0.0\n"
        "ISIC_2,1.0,0.0,0.0,0.0,0.0,0.0,0.0\n"
        "ISIC_3,0.0,0.0,0.0,1.0,0.0,0.0,0.0\n"
    )
    (folder / "Training_Input" / "ISIC2018_Task3_Training_LesionGroupings.csv").write_text(
        "image,lesion_id,diagnosis_confirm_type\n"
        "ISIC_1,HAM_7,histopathology\nISIC_2,HAM_8,histopathology\nISIC_3,HAM_9,serial imaging\n"
    )

    samples = read_samples(folder)

    assert classes(samples) == ["nv", "mel", "akiec"]
    assert [sample.lesion_id for sample in samples] == ["HAM_7", "HAM_8", "HAM_9"]


def test_the_challenge_of_2019_joins_classes_and_patients(folder):
    (folder / "ISIC_2019_Training_GroundTruth.csv").write_text(
        "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK\n"
        "ISIC_1,0,0,0,1,0,0,0,0,0\nISIC_2,0,0,0,0,0,0,1,0,0\nISIC_3,0,0,1,0,0,0,0,0,0\n"
    )
    (folder / "ISIC_2019_Training_Metadata.csv").write_text(
        "image,age_approx,anatom_site_general,lesion_id,sex\n"
        "ISIC_1,55,anterior torso,MSK4_1,female\nISIC_2,,,,\nISIC_3,30,Head/Neck,MSK4_2,male\n"
    )

    samples, findings = inspect_samples(folder)

    assert classes(samples) == ["akiec", "vasc", "bcc"]
    assert [(s.age, s.sex, s.localization) for s in samples] == [
        (55.0, "female", "anterior torso"),
        (None, None, None),
        (30.0, "male", "head/neck"),
    ]
    assert samples[1].lesion_id == "ISIC_2"
    assert findings.notes == ["Images without a lesion id, each counted as a lesion of its own: 1."]


def test_the_isic_archive_names_diagnoses_on_levels(folder):
    (folder / "metadata.csv").write_text(
        "isic_id,attribution,age_approx,anatom_site_general,diagnosis_1,diagnosis_2,diagnosis_3,diagnosis_4,lesion_id,sex\n"
        'ISIC_1,"A, B",45,lower extremity,Benign,Benign melanocytic proliferations,Nevus,"Nevus, Spitz",IL_1,male\n'
        "ISIC_2,C,,,Benign,Benign epidermal proliferations,Pigmented benign keratosis,,IL_2,\n"
        "ISIC_3,C,,,Malignant,Malignant epidermal proliferations,"
        '"Squamous cell carcinoma in situ, Bowen\'s disease",,IL_3,\n'
    )

    assert classes(read_samples(folder)) == ["nv", "bkl", "akiec"]


def test_a_diagnosis_outside_the_seven_classes_is_told_by_its_own_name(folder):
    (folder / "metadata.csv").write_text(
        "isic_id,diagnosis_1,diagnosis_3\n"
        'ISIC_1,Malignant,"Squamous cell carcinoma, Invasive"\nISIC_2,Benign,Nevus\nISIC_3,Benign,Nevus\n'
    )

    with pytest.raises(
        UnusableData, match=r"unknown class \(1\): Squamous cell carcinoma, Invasive .*line 2"
    ):
        read_samples(folder)


def test_two_ones_or_none_in_a_line_are_no_class(folder):
    (folder / "truth.csv").write_text("image,MEL,NV\nISIC_1,1,1\nISIC_2,0,0\nISIC_3,0,1\n")

    with pytest.raises(
        UnusableData,
        match=r"unknown class \(2\): MEL and NV \(truth\.csv, line 2\); none \(truth\.csv, line 3\)",
    ):
        read_samples(folder)


def test_the_table_that_dataverse_makes_of_the_metadata_is_read_as_well(folder):
    (folder / "HAM10000_metadata.tab").write_text(
        'lesion_id\timage_id\tdx\tage\n"HAM_1"\t"ISIC_1"\t"df"\t40.0\n'
        '"HAM_1"\t"ISIC_2"\t"df"\t40.0\n"HAM_2"\t"ISIC_3"\t"nv"\t\n'
    )

    samples = read_samples(folder)

    assert classes(samples) == ["df", "df", "nv"]
    assert [sample.age for sample in samples] == [40.0, 40.0, None]


def test_tables_that_contradict_each_other_are_named_with_both_lines(folder):
    (folder / "one.csv").write_text("image,MEL,NV\nISIC_1,1,0\nISIC_2,0,1\nISIC_3,0,1\n")
    (folder / "two.csv").write_text("isic_id,diagnosis\nISIC_1,nevus\n")

    with pytest.raises(UnusableData, match=r"MEL \(one\.csv, line 2\) and nevus \(two\.csv, line 2\)"):
        read_samples(folder)


def test_tables_that_say_the_same_in_other_words_agree(folder):
    (folder / "one.csv").write_text("image,MEL,NV\nISIC_1,1,0\nISIC_2,0,1\nISIC_3,0,1\n")
    (folder / "two.csv").write_text("isic_id,diagnosis,age_approx\nISIC_1,Melanoma,45\nISIC_2,nevus,\n")
    (folder / "three.csv").write_text("image_id,lesion_id,dx,age\nISIC_1,HAM_1,mel,45.0\n")

    assert classes(read_samples(folder)) == ["mel", "nv", "nv"]


def test_a_table_about_something_else_is_let_be(folder):
    (folder / "truth.csv").write_text("image,MEL,NV\nISIC_1,1,0\nISIC_2,0,1\nISIC_3,0,1\n")
    (folder / "split.csv").write_text("image_id,side\nISIC_9,test\n")
    (folder / "prices.csv").write_text("item,price\npen,3\n")

    assert len(read_samples(folder)) == 3


def test_a_line_without_an_image_is_told(folder):
    (folder / "truth.csv").write_text("image,MEL,NV\nISIC_1,1,0\n,0,1\nISIC_2,0,1\nISIC_3,0,1\n")

    with pytest.raises(UnusableData, match=r"no image id \(truth\.csv, line 3\)"):
        read_samples(folder)
