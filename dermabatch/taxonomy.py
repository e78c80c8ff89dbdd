"""The seven classes of HAM10000, their malignant group and their clinical codes.

The codes are representative: `akiec`, `bkl` and `vasc` are groups of diagnoses.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class LesionClass:
    """One class of lesion and the codes under which clinical systems know it."""

    code: str
    name: str
    malignant: bool
    snomed_ct: str
    icd10: str
    icd_o3: str | None
    isic: str
    """Column of the class in an ISIC 2018 Task 3 submission."""

    @property
    def label(self) -> str:
        """The class as pages and reports write it: `Melanoma (mel)`."""
        return f"{self.name} ({self.code})"


LESION_CLASSES: Final = (
    LesionClass(
        "akiec",
        "Actinic keratosis / intraepithelial carcinoma",
        True,
        "201101007",
        "L57.0",
        None,
        "AKIEC",
    ),
    LesionClass("bcc", "Basal cell carcinoma", True, "254701007", "C44.9", "8090/3", "BCC"),
    LesionClass("bkl", "Benign keratosis-like lesion", False, "398838000", "L82", None, "BKL"),
    LesionClass("df", "Dermatofibroma", False, "427186000", "D23.9", "8832/0", "DF"),
    LesionClass("mel", "Melanoma", True, "93655004", "C43.9", "8720/3", "MEL"),
    LesionClass("nv", "Melanocytic nevus", False, "400096001", "D22.9", "8720/0", "NV"),
    LesionClass("vasc", "Vascular lesion", False, "93471006", "D18.0", "9120/0", "VASC"),
)

CLASSES: Final = tuple(lesion.code for lesion in LESION_CLASSES)
"""Class codes in the order of every probability vector of the system."""

MALIGNANT: Final = frozenset(lesion.code for lesion in LESION_CLASSES if lesion.malignant)
"""Positive for triage. `akiec` counts: in situ carcinoma and its precursors."""

MALIGNANT_INDICES: Final = tuple(i for i, lesion in enumerate(LESION_CLASSES) if lesion.malignant)

ISIC_COLUMNS: Final = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
"""Column order of an ISIC 2018 Task 3 submission, which differs from `CLASSES`."""

BY_CODE: Final = {lesion.code: lesion for lesion in LESION_CLASSES}
