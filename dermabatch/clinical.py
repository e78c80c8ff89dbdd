"""What a hospital knows of a patient and a lesion besides the picture, brought to the few values a model can weigh.

Places on the body come in the words of whoever wrote them down. They are read as four regions and no finer: in
HAM10000 the choice between `back`, `abdomen` and `trunk` tells which clinic a picture comes from, not what it shows
(`docs/adr/0013-age-and-site-by-bayes.md`).
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final


@dataclass(frozen=True, slots=True)
class Clinical:
    """What is known of one image besides its pixels; None where nothing is.

    Attributes:
        age: in years.
        sex: "female" or "male" can be weighed, any other text counts as unknown.
        localization: place on the body, in anybody's words or as a SNOMED CT code.
    """

    age: float | None = None
    sex: str | None = None
    localization: str | None = None


NOTHING_KNOWN: Final = Clinical()


class Field(StrEnum):
    """One thing that may be known, by its name in CSV files, results and manifests."""

    AGE = "age"
    SEX = "sex"
    LOCALIZATION = "localization"


MAX_AGE: Final = 120
"""In years. Nobody is known to have been much older: rather a slip."""

_AGE_BOUNDS: Final = (0, 20, 30, 40, 50, 60, 70, 80, MAX_AGE + 1)
"""Decades, as HAM10000 rounds to five years; the ends are wider, because few lesions lie there."""

HEAD_AND_NECK: Final = "head and neck"
TRUNK: Final = "trunk"
UPPER_EXTREMITY: Final = "upper extremity"
LOWER_EXTREMITY: Final = "lower extremity"

_WORDS: Final = {
    HEAD_AND_NECK: "head, neck, face, scalp, ear, nose, cheek, chin, forehead, temple, eyelid, eyebrow, jawline",
    TRUNK: "trunk, torso, back, chest, thorax, abdomen, breast, flank",
    UPPER_EXTREMITY: "upper extremity, upper limb, arm, forearm, elbow, wrist, hand, finger, thumb, palm",
    LOWER_EXTREMITY: "lower extremity, lower limb, leg, thigh, knee, ankle, foot, toe, heel, sole",
}
"""Left out on purpose: genitals, mucosa, `acral`, shoulder, buttock and groin, of which the data knows too few."""

# SNOMED CT, as DICOM PS3.16 lists them in CID 4029 (skin of ...) and CID 4031 (whole regions).
_CODES: Final = {
    HEAD_AND_NECK: "70762009 73897004 43067004 1902009 113179006 43081002 69536005 45048000 774007",
    TRUNK: "66643007 75093004 181491009 54440003 244106003 244111001 818981001 816094009",
    UPPER_EXTREMITY: "371311000 33712006 53120007 85562004",
    LOWER_EXTREMITY: "371304004 60496002 61685007 56459004",
}

VALUES: Final[Mapping[Field, tuple[str, ...]]] = {
    Field.AGE: tuple(f"{low}-{high - 1}" for low, high in pairwise(_AGE_BOUNDS)),
    Field.SEX: ("female", "male"),
    Field.LOCALIZATION: tuple(_WORDS),
}
"""Every value that a field can have for a model."""


def value_of(field: Field, clinical: Clinical) -> str | None:
    """One of `VALUES[field]`; None where the field is unknown or says what no model can weigh."""
    match field:
        case Field.AGE:
            return _age_group(clinical.age)
        case Field.SEX:
            return clinical.sex if clinical.sex in VALUES[Field.SEX] else None
        case Field.LOCALIZATION:
            return _region(clinical.localization)


def _age_group(years: float | None) -> str | None:
    if years is None or not 0 <= years <= MAX_AGE:
        return None
    return VALUES[Field.AGE][bisect_right(_AGE_BOUNDS, years) - 1]


def _region(text: str | None) -> str | None:
    """The one region that the words of `text` name; None where they name none, or several (`back of hand`)."""
    words = re.findall(r"\w+", (text or "").lower())
    spoken = f" {' '.join(words)} "
    regions = {region for term, region in _REGION_OF_TERM.items() if f" {term} " in spoken}
    return regions.pop() if len(regions) == 1 else None


def _terms() -> Iterator[tuple[str, str]]:
    for region, words in _WORDS.items():
        yield from ((term, region) for term in [*words.split(", "), *_CODES[region].split()])


_REGION_OF_TERM: Final = dict(_terms())
