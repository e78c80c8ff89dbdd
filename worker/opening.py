"""A claimed chunk's pack, fetched, checked and decrypted."""

import hashlib
from dataclasses import dataclass
from uuid import UUID

from dermabatch import ledger
from dermabatch.clinical import NOTHING_KNOWN, Clinical
from dermabatch.errors import ErasedSubject, ObjectMissing, PackDamaged, SealBroken
from dermabatch.objects import ObjectStore
from dermabatch.packs import open_sealed
from dermabatch.subjects import KeyRing


@dataclass(frozen=True, slots=True)
class Picture:
    """One image as intake stored it.

    Attributes:
        data: JPEG or PNG.
        orientation: EXIF orientation, 1 to 8.
        stops: how often it has stopped its process so far.
        clinical: what is known besides the pixels.
    """

    image_id: UUID
    data: bytes
    orientation: int = 1
    stops: int = 0
    clinical: Clinical = NOTHING_KNOWN


def open_pictures(
    claim: ledger.Claim, *, store: ObjectStore, keyring: KeyRing
) -> tuple[list[Picture], dict[UUID, ledger.Refused]]:
    """What can be read, and the images of erased patients, which nobody can read any more.

    Raises:
        PackDamaged: no fault of the images, so none of them is refused for it.
        ObjectStoreUnavailable: the storage does not answer.
    """
    pack = _fetch(claim, store)
    pictures: list[Picture] = []
    erased: dict[UUID, ledger.Refused] = {}
    for image in claim.images:
        if image.erased:
            reason = "The patient was erased before this image was read."
            erased[image.id] = ledger.Refused(image.id, ErasedSubject.code, reason)
        else:
            data = _unseal(image, pack, keyring)
            pictures.append(Picture(image.id, data, image.orientation, image.stops, image.clinical))
    return pictures, erased


def image_key(image: ledger.ClaimedImage, keyring: KeyRing) -> bytes:
    """The 32-byte key that seals an image and what is derived from it.

    Raises:
        ErasedSubject: the patient was erased.
        SealBroken: the master key is not the one that wrapped it.
    """
    if image.wrapped_key is None:
        raise ErasedSubject(f"The key of subject {image.key_owner} was destroyed.")
    return keyring.unwrap(image.wrapped_key, image.key_owner)


def _fetch(claim: ledger.Claim, store: ObjectStore) -> bytes:
    try:
        pack = store.get(claim.object_key)
    except ObjectMissing as error:
        raise PackDamaged(f"The bytes of a stored pack are gone: {error}") from error
    if hashlib.sha256(pack).hexdigest() != claim.pack_sha256:
        raise PackDamaged(f"{claim.object_key} does not have the checksum it was stored with.")
    return pack


def _unseal(image: ledger.ClaimedImage, pack: bytes, keyring: KeyRing) -> bytes:
    sealed = pack[image.offset : image.offset + image.length]
    try:
        return open_sealed(sealed, image_key(image, keyring), image.id)
    except SealBroken as error:
        # The checksum held, so these are the bytes that intake wrote: rather the key is the wrong one.
        raise PackDamaged(f"{error} Is DERMABATCH_MASTER_KEY the one it was stored with?") from error
