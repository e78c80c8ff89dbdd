"""The hash chain: what is hashed, and how a reader finds the first event that does not fit. Pure.

    hash(n) = SHA-256( hash(n-1) || header || field 1 || ... || field 11 )

`hash(0)` is 32 zero bytes. The header is `seq` as a signed 64-bit integer and the length of each field in
bytes as a signed 32-bit integer, -1 where there is none, all big-endian. The fields are UTF-8 text in the
order of `FIELDS`.
"""

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NamedTuple, TypeAlias

FIELDS: Final = (
    "recorded_at",  # UTC with microseconds, as in 2026-01-31T23:59:59.000001Z
    "action",
    "outcome",
    "actor_id",
    "actor_kind",
    "source",
    "request_id",
    "department_id",
    "object_type",
    "object_id",
    "details",
)

_HEADER: Final = struct.Struct(f">q{len(FIELDS)}i")
_PROGRESS_EVENTS: Final = 8192

Fields: TypeAlias = Sequence[str | None]
"""Texts in the order of FIELDS."""

Progress: TypeAlias = Callable[[int], None]
"""Called now and then with the number of events walked so far."""


class Link(NamedTuple):
    """A place in the chain: everything up to `seq` is summed up in `hash`."""

    seq: int
    hash: bytes


class ChainedEvent(NamedTuple):
    """An event as the chain holds it."""

    seq: int
    fields: Fields
    hash: bytes


GENESIS: Final = Link(0, bytes(32))


def event_hash(previous: bytes, seq: int, fields: Fields) -> bytes:
    """SHA-256 of an event on top of the 32 bytes of its predecessor's. No two events have the same bytes."""
    texts = [None if field is None else field.encode() for field in fields]
    lengths = [-1 if text is None else len(text) for text in texts]
    return sha256(previous + _HEADER.pack(seq, *lengths) + b"".join(filter(None, texts))).digest()


@dataclass(frozen=True, slots=True)
class Walk:
    """How far a chain holds.

    `events` were walked and `checkpoints` were known; `last` is the last event that fits, `signed` the last
    that a signature vouches for. Where all is well `problem` is empty. Otherwise it is a sentence, and
    `first_bad_seq` the first event that does not fit, unless the problem is not with an event.
    """

    events: int
    checkpoints: int
    last: Link
    signed: Link
    first_bad_seq: int | None = None
    problem: str = ""


def nowhere(problem: str) -> Walk:
    """A walk that could not begin."""
    return Walk(0, 0, GENESIS, GENESIS, None, problem)


def walk(
    events: Iterable[ChainedEvent],
    *,
    start: Link,
    checkpoints: Mapping[int, bytes],
    progress: Progress = lambda _: None,
) -> Walk:
    """Follow a chain from `start` to its end or to the first event that does not fit.

    Args:
        events: in the order of `seq`.
        checkpoints: the signed hash of some events by `seq`. One beyond the end proves that events are gone.
    """
    last = signed = start

    def stopped(first_bad_seq: int | None = None, problem: str = "") -> Walk:
        return Walk(last.seq - start.seq, len(checkpoints), last, signed, first_bad_seq, problem)

    remaining = iter(events)
    for event in remaining:
        seq = event.seq
        if seq > last.seq + 1:
            return stopped(last.seq + 1, f"{_name(last.seq + 1, seq - 1)} missing")
        if seq <= last.seq:
            return stopped(seq, f"event {seq} stands where event {last.seq + 1} belongs")
        link = Link(seq, event_hash(last.hash, seq, event.fields))
        if link.hash != event.hash:
            deed = _deed(last, event, next(remaining, None))
            return stopped(seq, f"event {seq} does not fit its hash: {deed}")
        if checkpoints.get(seq, link.hash) != link.hash:
            return stopped(
                signed.seq + 1,
                f"{_name(signed.seq + 1, seq)} not as checkpoint {seq} signed:"
                " the chain was rewritten, or an older copy was restored and continued",
            )
        last = link
        if seq in checkpoints:
            signed = link
        if seq % _PROGRESS_EVENTS == 0:
            progress(last.seq - start.seq)
    newest = max(checkpoints, default=0)
    if newest > last.seq:
        return stopped(
            last.seq + 1,
            f"{_name(last.seq + 1, newest)} missing at the end, though checkpoint {newest} signed them:"
            " the chain was cut or dropped, or an older copy was restored",
        )
    progress(last.seq - start.seq)
    return stopped()


def _deed(last: Link, event: ChainedEvent, following: ChainedEvent | None) -> str:
    """What was done to an event that does not fit, as far as the event that follows it can tell."""

    def follows(previous: bytes, seq: int) -> bool:
        return following is not None and event_hash(previous, seq, following.fields) == following.hash

    if follows(event.hash, event.seq + 1):
        return "what it says was changed"
    if follows(event_hash(last.hash, event.seq, event.fields), event.seq + 1):
        return "the hash itself was changed"
    if follows(last.hash, event.seq):
        return "it was inserted or moved here, before the event that belongs here"
    if follows(event.hash, event.seq + 2):
        return "the event before it was deleted, and those after that were numbered anew"
    return "it was changed, inserted or moved"


def _name(first: int, last: int) -> str:
    return f"event {first} is" if first == last else f"events {first} to {last} are"
