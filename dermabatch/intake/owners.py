"""Whose pictures they are: patients and lesions of one upload, and the keys that seal their pictures."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from dermabatch.database import Sessions
from dermabatch.intake.metadata import Particulars
from dermabatch.schema import Batch, Subject
from dermabatch.subjects import (
    KeyRing,
    batch_key,
    find_or_create_lesion,
    find_or_create_subject,
    subject_key,
)


@dataclass(frozen=True, slots=True)
class Owner:
    """Where a picture belongs.

    Attributes:
        subject_id, lesion_id: None where nobody said.
        key: 32 bytes that seal the picture and its file name.
    """

    subject_id: UUID | None
    lesion_id: UUID | None
    key: bytes


class Owners:
    """Finds each patient and lesion of an upload once."""

    def __init__(self, batch: Batch, *, sessions: Sessions, keyring: KeyRing) -> None:
        self._batch = batch
        self._batch_key = batch_key(keyring, batch)
        self._sessions = sessions
        self._keyring = keyring
        self._subjects: dict[str, tuple[Subject, bytes]] = {}
        self._lesions: dict[tuple[str | None, str], UUID] = {}

    def meet(self, everyone: Iterable[Particulars]) -> None:
        """Look up, or add, whoever is new among these; afterwards `owner` knows them.

        In a transaction of its own, because a key must exist before anything is sealed with it. Always in the same
        order, or two uploads that bring the same new patients would wait for each other.
        """
        everyone = list(everyone)
        patients = sorted({one.patient for one in everyone if one.patient} - self._subjects.keys())
        lesions = {(one.patient, one.lesion) for one in everyone if one.lesion} - self._lesions.keys()
        if not patients and not lesions:
            return
        department_id = self._batch.department_id
        with self._sessions.begin(department=department_id) as session:
            for patient in patients:
                subject = find_or_create_subject(session, self._keyring, department_id, patient)
                self._subjects[patient] = subject, subject_key(self._keyring, subject)
            for patient_or_none, label in sorted(lesions, key=lambda lesion: (lesion[0] or "", lesion[1])):
                owner = self._subjects[patient_or_none][0] if patient_or_none else self._batch
                self._lesions[patient_or_none, label] = find_or_create_lesion(
                    session, self._keyring, department_id=department_id, owner=owner, label=label
                )

    def owner(self, particulars: Particulars) -> Owner:
        """Of a picture whose particulars `meet` has seen."""
        lesion_id = self._lesions[particulars.patient, particulars.lesion] if particulars.lesion else None
        if particulars.patient is None:
            return Owner(None, lesion_id, self._batch_key)
        subject, key = self._subjects[particulars.patient]
        return Owner(subject.id, lesion_id, key)
