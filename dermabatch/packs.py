"""Packs: uncompressed tar files of encrypted images, so that one PUT stores a chunk and a range reads one image."""

import hashlib
import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dermabatch.errors import SealBroken

_NONCE_BYTES = 12


@dataclass(frozen=True)
class Member:
    """What goes into a pack: a name (the image's id) and bytes that `seal` made."""

    name: str
    ciphertext: bytes


@dataclass(frozen=True)
class Entry:
    """Where one member's ciphertext lies in the pack, in bytes."""

    name: str
    offset: int
    length: int


@dataclass(frozen=True)
class PackBytes:
    """A whole pack; `sha256` is the hex digest of `data`, `entries` are in the order of the members."""

    data: bytes
    sha256: str
    entries: list[Entry]


def write_pack(members: Sequence[Member]) -> PackBytes:
    """The same members always make the same bytes."""
    blocks: list[bytes] = []
    entries: list[Entry] = []
    position = 0
    for member in members:
        header = tarfile.TarInfo(member.name)
        header.size = len(member.ciphertext)
        head = header.tobuf(tarfile.USTAR_FORMAT)
        padding = bytes(-header.size % tarfile.BLOCKSIZE)
        entries.append(Entry(member.name, position + len(head), header.size))
        blocks += (head, member.ciphertext, padding)
        position += len(head) + header.size + len(padding)
    blocks.append(bytes(2 * tarfile.BLOCKSIZE))
    data = b"".join(blocks)
    return PackBytes(data, hashlib.sha256(data).hexdigest(), entries)


def seal(plaintext: bytes, key: bytes, image_id: UUID) -> bytes:
    """Encrypt one image with AES-256-GCM, bound to its id: a ciphertext moved to another image does not open.

    Args:
        key: 32 bytes, of the image's patient or batch. Random nonces are safe for 2**32 images under one key.

    Returns:
        nonce (12 bytes), ciphertext and tag (16 bytes).
    """
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, image_id.bytes)


def open_sealed(ciphertext: bytes, key: bytes, image_id: UUID) -> bytes:
    """What `seal` was given.

    Raises:
        SealBroken: it was changed, cut, sealed for another image or under another key.
    """
    try:
        return AESGCM(key).decrypt(ciphertext[:_NONCE_BYTES], ciphertext[_NONCE_BYTES:], image_id.bytes)
    except (InvalidTag, ValueError) as error:
        raise SealBroken(f"The stored bytes of image {image_id} do not open with its key.") from error
