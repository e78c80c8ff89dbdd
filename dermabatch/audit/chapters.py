"""Chapters of the trail: which key signs from where on, and where signed events were lost.

A chapter begins with the trail, with a new signing key, and where an administrator accepts that a backup was
restored. Its opening is a statement in the storage, signed with the key of the chapter, that holds the digest of the
opening before it. So whoever trusts the present key needs no other one: it vouches for all chapters, their keys and
their checkpoints, and a key that was replaced signs nothing that counts.
"""

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from dermabatch.audit.chain import GENESIS, Link
from dermabatch.audit.checkpoints import (
    UNREADABLE,
    End,
    canonical,
    read_link,
    read_time,
    spell_link,
    spell_time,
)
from dermabatch.errors import CheckpointRefused
from dermabatch.objects import ObjectStore

PREFIX: Final = "audit/chapters/"
_KEY: Final = re.compile(re.escape(PREFIX) + r"(\d{6})\.json")
_KIND: Final = "dermabatch-audit-chapter-1"
_NOTHING_BEFORE: Final = bytes(32)


@dataclass(frozen=True, slots=True)
class Gap:
    """Signed events that a restored backup did not hold, and who accepted that.

    Of `first_seq` to `last_seq` nothing that the chain holds now is proven to be what was signed. `signed_at` is when
    the last of them was.
    """

    first_seq: int
    last_seq: int
    last_hash: bytes
    signed_at: datetime
    accepted_at: datetime
    accepted_by: str
    reason: str

    def __str__(self) -> str:
        return (
            f"events {self.first_seq} to {self.last_seq}, signed until {self.signed_at:%Y-%m-%d %H:%M} UTC, were lost"
            f" when a backup was restored; accepted {self.accepted_at:%Y-%m-%d %H:%M} UTC by {self.accepted_by}:"
            f" {self.reason}"
        )


@dataclass(frozen=True, slots=True)
class Chapter:
    """The opening of a chapter.

    `kept` is the last signed end of the chapters before that still counts, `resumed` the end of the chain when the
    chapter was opened; they differ where events were lost. `previous` is the digest of the chapter before.
    """

    number: int
    public_key: bytes
    opened_at: datetime
    previous: bytes
    kept: Link
    resumed: Link
    gap: Gap | None
    signature: bytes = b""

    @property
    def key(self) -> Ed25519PublicKey:
        """What verifies the checkpoints of this chapter."""
        return Ed25519PublicKey.from_public_bytes(self.public_key)

    @property
    def end(self) -> End:
        """The end of the chain that the opening signs."""
        return End(self.resumed, self.opened_at)

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.to_json().encode()).digest()

    @property
    def statement(self) -> dict[str, object]:
        return {
            "kind": _KIND,
            "chapter": self.number,
            "key": self.public_key.hex(),
            "time": spell_time(self.opened_at),
            "previous": self.previous.hex(),
            "kept": spell_link(self.kept),
            "resumed": spell_link(self.resumed),
            "gap": self.gap and _spell_gap(self.gap),
        }

    def to_json(self) -> str:
        """The form kept in the storage and in exports."""
        return canonical({**self.statement, "signature": self.signature.hex()})

    def verify(self) -> None:
        """
        Raises:
            CheckpointRefused: it is not signed with its own key.
        """
        try:
            self.key.verify(self.signature, canonical(self.statement).encode())
        except (InvalidSignature, ValueError):
            raise CheckpointRefused(f"the signature of chapter {self.number} is false") from None


def key_id(public_key: bytes) -> str:
    """Names a raw Ed25519 public key: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def opening(
    before: Sequence[Chapter],
    *,
    opened_at: datetime,
    key: Ed25519PrivateKey,
    kept: Link = GENESIS,
    resumed: Link = GENESIS,
    gap: Gap | None = None,
) -> Chapter:
    """The chapter after those `before`, signed with `key`.

    Raises:
        CheckpointRefused: the key was replaced before.
    """
    previous = before[-1].digest if before else _NOTHING_BEFORE
    public_key = key.public_key().public_bytes_raw()
    unsigned = Chapter(len(before) + 1, public_key, opened_at, previous, kept, resumed, gap)
    chapter = replace(unsigned, signature=key.sign(canonical(unsigned.statement).encode()))
    verify([*before, chapter], trusted=[public_key])
    return chapter


def put(store: ObjectStore, chapter: Chapter) -> None:
    """
    Raises:
        ObjectExists: somebody else opened it.
    """
    store.put(object_key(chapter.number), chapter.to_json().encode(), if_absent=True)


def load(store: ObjectStore, *, trusted: Collection[bytes]) -> list[Chapter]:
    """Every chapter of the trail, in order. Raises as `verify` does."""
    stored = sorted(entry.key for entry in store.list(PREFIX) if _KEY.fullmatch(entry.key))
    if stored != [object_key(number) for number in range(1, len(stored) + 1)]:
        raise CheckpointRefused("a chapter is missing from the storage")
    chapters = [from_json(store.get(key)) for key in stored]
    verify(chapters, trusted=trusted)
    return chapters


def verify(chapters: Sequence[Chapter], *, trusted: Collection[bytes]) -> None:
    """Follow the digests back from the last chapter, which one of the trusted keys must have signed.

    Raises:
        CheckpointRefused: a chapter is not the one that the next vouches for, the last one is signed with another
            key, or a key came back after it was replaced.
    """
    if not chapters:
        return
    last = chapters[-1]
    if last.public_key not in trusted:
        raise CheckpointRefused(
            f"chapter {last.number} is signed with the key {key_id(last.public_key)}, which is not the present one."
            " After a change of keys the scheduler signs with the new one within a minute"
        )
    for number, chapter in enumerate(chapters, start=1):
        before = chapters[number - 2].digest if number > 1 else _NOTHING_BEFORE
        if (chapter.number, chapter.previous) != (number, before):
            raise CheckpointRefused(f"chapter {number} is not the one that was opened")
        chapter.verify()
    keys = [chapter.public_key for chapter in chapters]
    turns = [key for place, key in enumerate(keys) if place == 0 or keys[place - 1] != key]
    if len(turns) != len(set(turns)):
        raise CheckpointRefused("a signing key came back after it was replaced")


def last_that_counts(chapters: Sequence[Chapter], chapter: Chapter) -> int | None:
    """Up to which event the signatures of a chapter count: None sets no limit."""
    later = (other.kept.seq for other in chapters[chapter.number :])
    return min(later, default=None)


def object_key(number: int) -> str:
    """Where the storage keeps the opening of a chapter."""
    return f"{PREFIX}{number:06d}.json"


def from_json(text: str | bytes) -> Chapter:
    """Read what `to_json` wrote.

    Raises:
        CheckpointRefused: it is something else.
    """
    try:
        said = json.loads(text)
        return Chapter(
            number=int(said["chapter"]),
            public_key=bytes.fromhex(said["key"]),
            opened_at=read_time(said["time"]),
            previous=bytes.fromhex(said["previous"]),
            kept=read_link(said["kept"]),
            resumed=read_link(said["resumed"]),
            gap=None if said["gap"] is None else _read_gap(said["gap"]),
            signature=bytes.fromhex(said["signature"]),
        )
    except UNREADABLE as error:
        raise CheckpointRefused(f"the opening of a chapter cannot be read: {error!r}") from None


def _spell_gap(gap: Gap) -> dict[str, object]:
    return {
        "first": gap.first_seq,
        "last": spell_link(Link(gap.last_seq, gap.last_hash)),
        "signed": spell_time(gap.signed_at),
        "accepted": spell_time(gap.accepted_at),
        "by": gap.accepted_by,
        "reason": gap.reason,
    }


def _read_gap(said: Mapping[str, Any]) -> Gap:
    last = read_link(said["last"])
    signed_at, accepted_at = read_time(said["signed"]), read_time(said["accepted"])
    return Gap(
        int(said["first"]), last.seq, last.hash, signed_at, accepted_at, str(said["by"]), str(said["reason"])
    )
