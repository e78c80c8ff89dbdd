"""The trail as a file that anybody can verify who has the public key, without this installation.

JSON Lines: first the format, then every chapter, then every checkpoint that counts, then one event a line with its
fields as they are hashed (`chain`) and its hash. The last event is the one that the newest checkpoint signed.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain as joined
from typing import Any, Final

from sqlalchemy.orm import Session

from dermabatch.audit import chapters as audit_chapters
from dermabatch.audit import checkpoints, evidence
from dermabatch.audit.chain import FIELDS, GENESIS, ChainedEvent, Progress, nowhere, walk
from dermabatch.audit.chapters import Chapter
from dermabatch.audit.checkpoints import Checkpoint
from dermabatch.audit.evidence import Evidence
from dermabatch.audit.reading import demand_auditor, stream
from dermabatch.audit.verification import Verification, conclude
from dermabatch.errors import CheckpointRefused, Conflict, InvalidRequest
from dermabatch.objects import ObjectStore

_FORMAT: Final = "dermabatch-audit-export-2"


def export(session: Session, store: ObjectStore, verify_key: bytes) -> Iterator[bytes]:
    """The lines of an export: every event up to the newest checkpoint, which is at most a minute old.

    Args:
        session: opened with `auditor=True`.

    Raises, with the first line:
        Conflict: nothing has been signed yet.
        CheckpointRefused: what the storage holds was not signed for this trail.
    """
    demand_auditor(session)
    chapters, found = evidence.signed(session, store, trusted=[verify_key])
    known = evidence.of(chapters, found)
    if known.newest is None:
        raise Conflict(
            "No event has been signed yet: the first checkpoint is made within a minute of the first event."
        )
    yield _line({"format": _FORMAT})
    yield from (_line({"chapter": chapter.to_json()}) for chapter in chapters)
    yield from (_line({"checkpoint": checkpoint.to_json()}) for checkpoint in found)
    for event in stream(session, last=known.newest.link.seq):
        yield _event_line(event)


def verify_export(
    lines: Iterable[bytes], public_key: bytes, *, progress: Progress = lambda _: None
) -> Verification:
    """Verify an export with nothing but the installation's public key, 32 raw bytes."""
    started = time.perf_counter()
    numbered = enumerate(lines, start=1)
    known = Evidence([], [])
    try:
        known, first_event = _read_signed(numbered, public_key)
        last = known.newest.link.seq if known.newest else 0
        events = _read_events(joined(first_event, numbered), last=last)
        walked = walk(events, start=GENESIS, checkpoints=known.hashes, progress=progress)
    except (CheckpointRefused, InvalidRequest) as error:
        walked = nowhere(str(error))
    return conclude(walked, known, started)


_Numbered = Iterator[tuple[int, bytes]]


def _read_signed(numbered: _Numbered, public_key: bytes) -> tuple[Evidence, list[tuple[int, bytes]]]:
    """Everything before the events, and the line of the first event, which was read to find the end of it."""
    _, first = next(numbered, (1, b""))
    if first != _line({"format": _FORMAT}):
        raise InvalidRequest(f"Expected a file that begins with the format {_FORMAT}. Received another one.")
    chapters: list[Chapter] = []
    found: list[Checkpoint] = []
    first_event: list[tuple[int, bytes]] = []
    for number, line in numbered:
        said = _read_json(number, line)
        if "chapter" in said:
            chapters.append(audit_chapters.from_json(str(said["chapter"])))
            expected = _line({"chapter": chapters[-1].to_json()})
        elif "checkpoint" in said:
            found.append(checkpoints.from_json(str(said["checkpoint"])))
            expected = _line({"checkpoint": found[-1].to_json()})
        else:
            first_event.append((number, line))
            break
        if line != expected:
            raise InvalidRequest(f"line {number} is not as it was exported")
    if not chapters:
        raise InvalidRequest("Expected at least one chapter of the trail. Received none.")
    audit_chapters.verify(chapters, trusted=[public_key])
    keys = {chapter.number: chapter.key for chapter in chapters}
    for checkpoint in found:
        if checkpoint.chapter not in keys:
            raise CheckpointRefused(f"checkpoint {checkpoint.link.seq} stands in no chapter")
        checkpoint.verify(keys[checkpoint.chapter])
    return evidence.of(chapters, found), first_event


def _line(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def _event_line(event: ChainedEvent) -> bytes:
    said = dict(zip(FIELDS, event.fields, strict=True))
    return _line({"seq": event.seq, **said, "hash": event.hash.hex()})


def _read_events(numbered: Iterable[tuple[int, bytes]], *, last: int) -> Iterator[ChainedEvent]:
    for number, line in numbered:
        event = _read_event(number, line)
        if event.seq > last:
            raise InvalidRequest(
                f"line {number} holds event {event.seq}, but only events up to {last} are signed"
            )
        yield event


def _read_event(number: int, line: bytes) -> ChainedEvent:
    said = _read_json(number, line)
    try:
        event = ChainedEvent(said["seq"], [said[name] for name in FIELDS], bytes.fromhex(said["hash"]))
        for text in event.fields:
            if text is not None:
                text.encode()  # raises for what is no text, and for half a surrogate pair, which has no bytes
        # One spelling only: what a person reads in the file is what was hashed, nothing besides, nothing twice.
        if type(event.seq) is int and _event_line(event) == line:
            return event
    except (KeyError, TypeError, AttributeError, ValueError):
        pass
    raise InvalidRequest(f"line {number} is not an event as it was exported")


def _read_json(number: int, line: bytes) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise InvalidRequest(f"line {number} is not a JSON object")
    return document
