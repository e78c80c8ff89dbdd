"""Signed checkpoints: what the chain's end was at a moment, kept where no database administrator reaches."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from dermabatch.audit.chain import Link
from dermabatch.errors import CheckpointRefused
from dermabatch.objects import ObjectStore

PREFIX: Final = "audit/checkpoints/"
_KEY: Final = re.compile(re.escape(PREFIX) + r"(\d{20})\.json")

# The installation's key signs model manifests too. This word keeps one from being taken for the other.
_KIND: Final = "dermabatch-audit-checkpoint-1"

TrustedKeys: TypeAlias = Mapping[str, Ed25519PublicKey]
"""Public keys by their id: the present one and those it has replaced."""


def key_id(public_key: bytes) -> str:
    """Names a raw Ed25519 public key: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def trust(*public_keys: bytes) -> TrustedKeys:
    """The keys, 32 raw bytes each, whose signature counts."""
    return {key_id(key): Ed25519PublicKey.from_public_bytes(key) for key in public_keys}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One signed end of the chain."""

    link: Link
    signed_at: datetime
    key_id: str
    signature: bytes

    def verify(self, keys: TrustedKeys) -> None:
        """
        Raises:
            CheckpointRefused: none of these keys signed it.
        """
        key = keys.get(self.key_id)
        if key is None:
            raise CheckpointRefused(
                f"checkpoint {self.link.seq} is signed with an unknown key: {self.key_id!r}"
            )
        try:
            key.verify(self.signature, _statement(self.link, self.signed_at, self.key_id))
        except InvalidSignature:
            raise CheckpointRefused(f"the signature of checkpoint {self.link.seq} is false") from None

    def to_json(self) -> str:
        """The form kept in the storage and in exports: the signed statement and its signature."""
        statement = json.loads(_statement(self.link, self.signed_at, self.key_id))
        return _canonical({**statement, "signature": self.signature.hex()})


def sign(link: Link, *, signed_at: datetime, key: Ed25519PrivateKey) -> Checkpoint:
    """State under `key` that the chain ended in `link` at `signed_at`."""
    name = key_id(key.public_key().public_bytes_raw())
    return Checkpoint(link, signed_at, name, key.sign(_statement(link, signed_at, name)))


def from_json(text: str | bytes) -> Checkpoint:
    """Read what `to_json` wrote.

    Raises:
        CheckpointRefused: it is something else.
    """
    try:
        said = json.loads(text)
        signed_at = datetime.fromisoformat(said["time"])
        return Checkpoint(
            Link(int(said["seq"]), bytes.fromhex(said["hash"])),
            signed_at.astimezone(UTC),
            str(said["key"]),
            bytes.fromhex(said["signature"]),
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise CheckpointRefused(f"a checkpoint cannot be read: {error!r}") from None


def object_key(seq: int) -> str:
    """Where the storage keeps the checkpoint of this event; in the order of `seq`."""
    return f"{PREFIX}{seq:020d}.json"


def stored_seqs(store: ObjectStore) -> Iterator[int]:
    """The events that have a checkpoint in the storage, ascending."""
    for entry in store.list(PREFIX):
        match = _KEY.fullmatch(entry.key)
        if match:
            yield int(match[1])


def load(store: ObjectStore, seq: int, keys: TrustedKeys) -> Checkpoint:
    """
    Raises:
        CheckpointRefused: the object is no checkpoint of this event, or not signed with one of the keys.
    """
    checkpoint = from_json(store.get(object_key(seq)))
    if checkpoint.link.seq != seq:
        raise CheckpointRefused(
            f"expected checkpoint {seq} under its key, found checkpoint {checkpoint.link.seq}"
        )
    checkpoint.verify(keys)
    return checkpoint


def newest(store: ObjectStore, keys: TrustedKeys) -> Checkpoint | None:
    """The checkpoint that reaches furthest. Raises as `load` does."""
    last = max(stored_seqs(store), default=None)
    return None if last is None else load(store, last, keys)


def _statement(link: Link, signed_at: datetime, key: str) -> bytes:
    time = signed_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return _canonical(
        {"kind": _KIND, "seq": link.seq, "hash": link.hash.hex(), "time": time, "key": key}
    ).encode()


def _canonical(document: Mapping[str, object]) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"))
