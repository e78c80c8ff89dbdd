"""What becomes of one received file: a picture to store, or a reason for its row."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from dermabatch.errors import DecoderDied, ImageRejected
from dermabatch.imaging.dicom import DicomImage, DicomTags
from dermabatch.imaging.inspection import Inspected, inspect
from dermabatch.imaging.rejection import RejectionReason
from dermabatch.intake.incoming import IntakeReason, Received, RefusedFile
from dermabatch.intake.metadata import (
    NOTHING_KNOWN,
    Matching,
    Metadata,
    MetadataRow,
    Particulars,
    clean_text,
    possible_age,
)

_DICOM_SEXES: Final = ("male", "female")


class ReadsDicom(Protocol):
    """`dermabatch.imaging.sandbox.DecoderPool`, as far as intake needs it."""

    def extract_dicom(self, data: bytes) -> DicomImage:
        """The one picture of a DICOM object and what it says of its patient.

        Raises:
            ImageRejected: it is none that we read.
            DecoderDied: it stopped its reader.
        """


@dataclass(frozen=True, slots=True)
class JudgedFile:
    """A received file and what is to become of it.

    Attributes:
        ordinal: place in the upload, from 0.
        name: as its sender calls it.
        sha256: hex digest of the file as it came; None where it was not read.
        particulars: from the CSV, and from the DICOM object where the CSV says nothing.
        verdict: the picture to store, or why there is none.
    """

    ordinal: int
    name: str
    sha256: str | None
    particulars: Particulars
    verdict: Inspected | ImageRejected


class Judge:
    """Judges the files of one upload in order: each by itself, and against those before it."""

    def __init__(self, metadata: Metadata | None, decoders: ReadsDicom) -> None:
        self._matching = Matching(metadata)
        self._decoders = decoders
        self._stored: set[bytes] = set()

    def judge(self, ordinal: int, received: Received) -> JudgedFile:
        """Never raises for what is wrong with a file; its verdict says so."""
        row: MetadataRow | ImageRejected | None
        try:
            row = self._matching.take(received.name)
        except ImageRejected as ambiguous:
            row = ambiguous
        particulars = row.particulars if isinstance(row, MetadataRow) else NOTHING_KNOWN
        if isinstance(received, RefusedFile):
            refusal = ImageRejected(received.reason, received.message)
            return JudgedFile(ordinal, received.name, None, particulars, refusal)
        digest = hashlib.sha256(received.data)
        try:
            inspected = self._inspect(received.data, received.name, digest.digest(), row)
        except ImageRejected as rejected:
            return JudgedFile(ordinal, received.name, digest.hexdigest(), particulars, rejected)
        if inspected.tags is not None:
            particulars = particulars.filled_from(particulars_of(inspected.tags))
        return JudgedFile(ordinal, received.name, digest.hexdigest(), particulars, inspected)

    def left_over(self) -> Iterator[RefusedFile]:
        """Lines of the CSV that none of the files judged so far belongs to."""
        return self._matching.left_over()

    def _inspect(
        self, data: bytes, name: str, digest: bytes, row: MetadataRow | ImageRejected | None
    ) -> Inspected:
        if digest in self._stored:
            raise ImageRejected(
                RejectionReason.DUPLICATE, "the same file came earlier in this upload and is judged once"
            )
        if isinstance(row, ImageRejected):
            raise row
        if row is not None and row.problem is not None:
            raise ImageRejected(IntakeReason.BAD_METADATA, row.problem)
        try:
            inspected = inspect(data, name, extract_dicom=self._decoders.extract_dicom)
        except DecoderDied as death:
            raise ImageRejected(
                RejectionReason.UNDECODABLE, "the DICOM object cannot be read: it stopped its reader"
            ) from death
        self._stored.add(digest)
        return inspected


def particulars_of(tags: DicomTags) -> Particulars:
    """The tags as far as they can be stored. They come out of a sandbox that an attacker may have taken over."""
    localization = clean_text(tags.localization)
    return Particulars(
        patient=clean_text(tags.patient),
        age=possible_age(tags.age),
        sex=tags.sex if tags.sex in _DICOM_SEXES else None,
        localization=localization.lower() if localization else None,
    )
