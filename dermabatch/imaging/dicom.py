"""What leaves the sandbox of a DICOM object: one picture and four tags, nothing else."""

from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class DicomTags:
    """What a DICOM object says of its patient; None where it says nothing usable.

    Attributes:
        patient: Patient ID (0010,0020).
        age: years, from Patient's Age (0010,1010); less than a year is 0.
        sex: "male" or "female", from Patient's Sex (0010,0040).
        localization: where on the body, in lower case: the meaning of Anatomic Region Sequence (0008,2218),
            or Body Part Examined (0018,0015).
    """

    patient: str | None = None
    age: int | None = None
    sex: str | None = None
    localization: str | None = None

    @classmethod
    def from_header(cls, header: dict[str, Any]) -> Self:
        """From a decoder's answer, which may be anything.

        Raises:
            KeyError, TypeError: it holds no tags.
        """
        tags = cls(header["patient"], header["age"], header["sex"], header["localization"])
        texts = (tags.patient, tags.sex, tags.localization)
        if not (isinstance(tags.age, int | None) and all(isinstance(text, str | None) for text in texts)):
            raise TypeError("expected texts and a number")
        return tags


@dataclass(frozen=True, slots=True)
class DicomImage:
    """The single frame of a DICOM object.

    Attributes:
        data: its own JPEG bytes, or a lossless PNG of its native pixels.
        tags: what it says of its patient.
    """

    data: bytes
    tags: DicomTags
