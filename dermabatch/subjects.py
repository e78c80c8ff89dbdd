"""Pseudonyms and data keys of patients: finding a patient without storing a readable number, sealing.

Every patient (*subject*) and every batch has a random 32-byte data key. It is stored only wrapped by a key derived from
the installation's master key, and everything that could name a person is sealed with it. Destroying the wrapped key of
a subject is therefore enough to erase the person (`erasures`).
"""

import hmac
import os
import unicodedata
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from dermabatch.errors import ErasedSubject, SealBroken
from dermabatch.identifiers import new_id
from dermabatch.schema import Batch, Image, Lesion, Subject

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12


class KeyRing:
    """What the master key can do, each with a subkey of its own so that no use weakens another."""

    def __init__(self, master_key: bytes) -> None:
        """Derive the subkeys (HKDF-SHA256, RFC 5869) of a 32-byte master key."""
        self._wrapping = AESGCM(_derive(master_key, b"dermabatch/wrap/1"))
        self._lookup = _derive(master_key, b"dermabatch/lookup/1")
        self._proving = _derive(master_key, b"dermabatch/proof/1")

    def new_wrapped_key(self, owner_id: UUID) -> bytes:
        """A fresh data key, wrapped so that only `unwrap` with the same owner opens it: 60 bytes."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._wrapping.encrypt(nonce, os.urandom(_KEY_BYTES), owner_id.bytes)

    def unwrap(self, wrapped: bytes, owner_id: UUID) -> bytes:
        """The 32-byte data key.

        Raises:
            SealBroken: wrapped for another owner, by another master key, or changed since.
        """
        return _decrypt(self._wrapping, wrapped, owner_id.bytes, f"the data key of {owner_id}")

    def lookup_hash(self, department_id: UUID, text: str) -> bytes:
        """HMAC-SHA256 under which a department finds this text again; equal texts of two departments differ."""
        return hmac.digest(self._lookup, department_id.bytes + text.encode(), "sha256")

    def proof(self, statement: bytes) -> bytes:
        """HMAC-SHA256 that only a holder of the master key can make of this statement."""
        return hmac.digest(self._proving, statement, "sha256")


def seal_text(text: str, key: bytes, row_id: UUID) -> bytes:
    """Encrypt a name or number with the data key of its patient or batch, bound to the row that holds it."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, text.encode(), _text_of(row_id))


def open_text(sealed: bytes, key: bytes, row_id: UUID) -> str:
    """Reverse `seal_text`.

    Raises:
        SealBroken: sealed with another key, for another row, or changed since.
    """
    return _decrypt(AESGCM(key), sealed, _text_of(row_id), f"the text of row {row_id}").decode()


def data_key(keyring: KeyRing, image: Image) -> bytes:
    """The key that seals an image and its file name: its patient's if it has one, else its batch's.

    Raises:
        ErasedSubject: the patient was erased.
    """
    if image.subject is None:
        return batch_key(keyring, image.batch)
    return subject_key(keyring, image.subject)


def batch_key(keyring: KeyRing, batch: Batch) -> bytes:
    """The data key of a batch."""
    return keyring.unwrap(batch.wrapped_key, batch.id)


def subject_key(keyring: KeyRing, subject: Subject) -> bytes:
    """The data key of a patient.

    Raises:
        ErasedSubject: the patient was erased.
    """
    if subject.wrapped_key is None:
        raise ErasedSubject(f"The key of subject {subject.id} was destroyed at {subject.erased_at}.")
    return keyring.unwrap(subject.wrapped_key, subject.id)


def find_subject(session: Session, keyring: KeyRing, department_id: UUID, patient: str) -> Subject | None:
    """The subject behind a patient number, if this department has ever seen it and has not erased it."""
    lookup = keyring.lookup_hash(department_id, _patient_number(patient))
    return session.scalar(
        sa.select(Subject).where(Subject.department_id == department_id, Subject.lookup_hash == lookup)
    )


def find_or_create_subject(session: Session, keyring: KeyRing, department_id: UUID, patient: str) -> Subject:
    """The subject behind a patient number; two uploads that bring a new patient at once get the same one.

    The loser of that race waits here for the winner's commit. Whoever creates several in one transaction takes them
    in a fixed order, or two uploads deadlock.
    """
    known = find_subject(session, keyring, department_id, patient)
    if known is not None:
        return known
    subject_id = new_id()
    wrapped = keyring.new_wrapped_key(subject_id)
    number = _patient_number(patient)
    session.execute(
        insert(Subject)
        .values(
            id=subject_id,
            department_id=department_id,
            lookup_hash=keyring.lookup_hash(department_id, number),
            patient_sealed=seal_text(number, keyring.unwrap(wrapped, subject_id), subject_id),
            wrapped_key=wrapped,
        )
        .on_conflict_do_nothing(index_elements=["department_id", "lookup_hash"])
    )
    created = find_subject(session, keyring, department_id, patient)
    if created is None:
        raise ErasedSubject("The patient was erased while an upload was adding to it.")
    return created


def find_or_create_lesion(
    session: Session,
    keyring: KeyRing,
    *,
    department_id: UUID,
    owner: Subject | Batch,
    label: str,
) -> UUID:
    """The lesion that a label means for its owner, sealed with the owner's key.

    Labels such as `1` or `left arm` are unique to a patient at best, so they are looked up within the patient, or
    within the batch where no patient is known: never may two people's lesions become one.
    """
    subject = owner if isinstance(owner, Subject) else None
    key = subject_key(keyring, owner) if isinstance(owner, Subject) else batch_key(keyring, owner)
    label = label.strip()
    lookup = keyring.lookup_hash(department_id, f"lesion/{owner.id}/{label}")
    known = sa.select(Lesion.id).where(Lesion.department_id == department_id, Lesion.lookup_hash == lookup)
    found = session.scalar(known)
    if found is not None:
        return found
    lesion_id = new_id()
    session.execute(
        insert(Lesion)
        .values(
            id=lesion_id,
            department_id=department_id,
            subject_id=subject.id if subject else None,
            lookup_hash=lookup,
            label_sealed=seal_text(label, key, lesion_id),
        )
        .on_conflict_do_nothing(index_elements=["department_id", "lookup_hash"])
    )
    return session.scalars(known).one()


def _derive(master_key: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=purpose).derive(master_key)


def _text_of(row_id: UUID) -> bytes:
    # Image bytes are bound to the bare id (`packs.seal`); the prefix keeps the two from standing in for each other.
    return b"text/" + row_id.bytes


def _decrypt(cipher: AESGCM, sealed: bytes, bound_to: bytes, what: str) -> bytes:
    try:
        return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to)
    except (InvalidTag, ValueError) as error:
        raise SealBroken(f"Expected {what} to open with its key. It was changed, cut or moved.") from error


def _patient_number(patient: str) -> str:
    """One writing for one number. Case and leading zeros are kept: in some hospitals they tell patients apart."""
    return unicodedata.normalize("NFC", patient.strip())
