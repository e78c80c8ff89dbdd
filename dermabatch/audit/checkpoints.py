"""Signed checkpoints: what the chain's end was at a moment, kept where no database administrator reaches."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from dermabatch.audit.chain import Link
from dermabatch.errors import CheckpointRefused
from dermabatch.objects import ObjectStore

PREFIX: Final = "audit/checkpoints/"
_KEY: Final = re.compile(re.escape(PREFIX) + r"\d{6}/(\d{20})\.json")

# The installation's key signs model manifests too. This word keeps one from being taken for the other.
_KIND: Final = "dermabatch-audit-checkpoint-1"

# Objects are named by how far they are from here, because a listing begins with the smallest name: the newest
# checkpoint is the first one listed, however many there are.
_FARTHEST: Final = 10**20 - 1


class End(NamedTuple):
    """An end of the chain, and when it was signed."""

    link: Link
    signed_at: datetime


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One signed end of the chain, in one chapter of the trail (`chapters`)."""

    chapter: int
    link: Link
    signed_at: datetime
    signature: bytes

    @property
    def end(self) -> End:
        return End(self.link, self.signed_at)

    def verify(self, key: Ed25519PublicKey) -> None:
        """
        Raises:
            CheckpointRefused: this key did not sign it.
        """
        try:
            key.verify(self.signature, _statement(self.chapter, self.link, self.signed_at))
        except InvalidSignature:
            raise CheckpointRefused(f"the signature of checkpoint {self.link.seq} is false") from None

    def to_json(self) -> str:
        """The form kept in the storage and in exports: the signed statement and its signature."""
        statement = json.loads(_statement(self.chapter, self.link, self.signed_at))
        return canonical({**statement, "signature": self.signature.hex()})


def sign(chapter: int, link: Link, *, signed_at: datetime, key: Ed25519PrivateKey) -> Checkpoint:
    """State under `key` that the chain ended in `link` at `signed_at`."""
    return Checkpoint(chapter, link, signed_at, key.sign(_statement(chapter, link, signed_at)))


def from_json(text: str | bytes) -> Checkpoint:
    """Read what `to_json` wrote.

    Raises:
        CheckpointRefused: it is something else.
    """
    try:
        said = json.loads(text)
        return Checkpoint(
            int(said["chapter"]), read_link(said), read_time(said["time"]), bytes.fromhex(said["signature"])
        )
    except UNREADABLE as error:
        raise CheckpointRefused(f"a checkpoint cannot be read: {error!r}") from None


def object_key(chapter: int, seq: int) -> str:
    """Where the storage keeps the checkpoint of this event."""
    return f"{_folder(chapter)}{_FARTHEST - seq:020d}.json"


def stored_seqs(store: ObjectStore, chapter: int) -> Iterator[int]:
    """The events that have a checkpoint in the storage, from the newest on."""
    for entry in store.list(_folder(chapter)):
        match = _KEY.fullmatch(entry.key)
        if match:
            yield _FARTHEST - int(match[1])


def load(store: ObjectStore, chapter: int, seq: int, key: Ed25519PublicKey) -> Checkpoint:
    """
    Raises:
        CheckpointRefused: the object is no checkpoint of this event, or not signed with this key.
    """
    checkpoint = from_json(store.get(object_key(chapter, seq)))
    if (checkpoint.chapter, checkpoint.link.seq) != (chapter, seq):
        raise CheckpointRefused(
            f"expected checkpoint {seq} of chapter {chapter} under its key,"
            f" found checkpoint {checkpoint.link.seq} of chapter {checkpoint.chapter}"
        )
    checkpoint.verify(key)
    return checkpoint


def newest(store: ObjectStore, chapter: int, key: Ed25519PublicKey) -> Checkpoint | None:
    """The checkpoint of a chapter that reaches furthest, with one listing and one read. Raises as `load` does."""
    last = next(stored_seqs(store, chapter), None)
    return None if last is None else load(store, chapter, last, key)


UNREADABLE: Final = (ValueError, KeyError, TypeError, OverflowError, RecursionError)
"""What reading a signed statement may raise that is something else."""


def canonical(document: Mapping[str, object]) -> str:
    """The one spelling that is signed."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def spell_link(link: Link) -> dict[str, object]:
    """A link as signed statements hold it."""
    return {"seq": link.seq, "hash": link.hash.hex()}


def read_link(said: Mapping[str, Any]) -> Link:
    """Reverse `spell_link`."""
    return Link(int(said["seq"]), bytes.fromhex(said["hash"]))


def spell_time(time: datetime) -> str:
    """A time as signed statements hold it: UTC, microseconds."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def read_time(text: str) -> datetime:
    """Reverse `spell_time`."""
    return datetime.fromisoformat(text).astimezone(UTC)


def _folder(chapter: int) -> str:
    return f"{PREFIX}{chapter:06d}/"


def _statement(chapter: int, link: Link, signed_at: datetime) -> bytes:
    said = {"kind": _KIND, "chapter": chapter, **spell_link(link), "time": spell_time(signed_at)}
    return canonical(said).encode()
