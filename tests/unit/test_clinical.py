"""What hospitals write about a patient, brought to the values that a model weighs."""

import pytest
from pydicom.sr import codes

from dermabatch.clinical import VALUES, Clinical, Field, value_of


def age_group(years):
    return value_of(Field.AGE, Clinical(age=years))


def region(text):
    return value_of(Field.LOCALIZATION, Clinical(localization=text))


@pytest.mark.parametrize(
    ("years", "group"),
    [
        (0, "0-19"),
        (19.9, "0-19"),
        (20, "20-29"),
        (45, "40-49"),
        (79, "70-79"),
        (80, "80-120"),
        (120, "80-120"),
    ],
)
def test_an_age_belongs_to_its_decade(years, group):
    assert age_group(years) == group


@pytest.mark.parametrize("years", [None, -1, 121, 130])
def test_an_age_that_nobody_has_counts_as_unknown(years):
    assert age_group(years) is None


@pytest.mark.parametrize(
    ("sex", "value"), [("male", "male"), ("female", "female"), ("other", None), (None, None)]
)
def test_a_sex_that_the_data_does_not_know_counts_as_unknown(sex, value):
    assert value_of(Field.SEX, Clinical(sex=sex)) == value


# The fifteen values of the localization column of HAM10000.
HAM10000 = {
    "head and neck": ["ear", "face", "neck", "scalp"],
    "trunk": ["abdomen", "back", "chest", "trunk"],
    "upper extremity": ["hand", "upper extremity"],
    "lower extremity": ["foot", "lower extremity"],
    None: ["acral", "genital", "unknown"],
}


@pytest.mark.parametrize(("expected", "words"), HAM10000.items())
def test_the_places_of_ham10000_belong_to_their_regions(expected, words):
    assert [region(word) for word in words] == [expected] * len(words)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Left upper arm", "upper extremity"),
        ("LOWER LIMB", "lower extremity"),
        ("Skin of lower back", "trunk"),
        ("posterior torso", "trunk"),
        ("head/neck", "head and neck"),
        ("ear, left (helix)", "head and neck"),
        ("66643007", "trunk"),
    ],
)
def test_other_words_for_a_place_are_understood(text, expected):
    assert region(text) == expected


@pytest.mark.parametrize(
    "text", ["back of hand", "neck and chest", "forehand", "Rücken", "oral/genital", "", None]
)
def test_a_place_that_names_no_region_or_several_counts_as_unknown(text):
    assert region(text) is None


# Words that DICOM's dermatologic sites use for parts of a region.
PARTS = {
    "head and neck": ("head", "neck", "face", "scalp", "ear", "nose", "cheek", "chin", "eye", "temp", "jaw"),
    "trunk": ("trunk", "back", "thora", "chest", "abdomen", "breast"),
    "upper extremity": ("upper extremity", "arm", "elbow", "wrist", "hand", "finger", "thumb", "palm"),
    "lower extremity": ("lower extremity", "leg", "thigh", "knee", "ankle", "foot", "toe", "heel", "sole"),
}


@pytest.mark.parametrize("name", codes.cid4029.dir())
def test_no_dermatologic_site_of_dicom_lands_in_a_region_it_is_not_in(name):
    site = getattr(codes.cid4029, name)
    for spelled in (site.meaning, site.value):
        found = region(spelled)
        assert found is None or any(part in site.meaning.lower() for part in PARTS[found])


def test_most_skin_sites_of_dicom_are_understood():
    sites = [getattr(codes.cid4029, name).meaning for name in codes.cid4029.dir()]
    skin = [site for site in sites if site.startswith("Skin of")]
    assert sum(region(site) is not None for site in skin) / len(skin) > 0.6


def test_every_region_can_be_named_by_its_own_name():
    assert [region(name) for name in VALUES[Field.LOCALIZATION]] == list(VALUES[Field.LOCALIZATION])
