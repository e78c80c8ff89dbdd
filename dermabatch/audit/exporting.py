"""The trail as a file that anybody can verify who has the public key, without this installation.

JSON Lines. The first line holds the checkpoint under which the export was made, each further line one event
with its fields as they are hashed (`chain`) and its hash. The last event is the one that the checkpoint
signed.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy.orm import Session

from dermabatch.audit import checkpoints
from dermabatch.audit.chain import FIELDS, GENESIS, ChainedEvent, Progress, nowhere, walk
from dermabatch.audit.checkpoints import Checkpoint
from dermabatch.audit.reading import demand_auditor, stream
from dermabatch.audit.verification import Verification, conclude
from dermabatch.errors import CheckpointRefused, Conflict, InvalidRequest
from dermabatch.objects import ObjectStore

_FORMAT: Final = "dermabatch-audit-export-1"


def export(
    session: Session, store: ObjectStore, verify_key: bytes, *, retired_keys: Sequence[bytes] = ()
) -> Iterator[bytes]:
    """The lines of an export: every event up to the newest checkpoint, which is at most a minute old.

    Args:
        session: opened with `auditor=True`.

    Raises, with the first line:
        Conflict: nothing has been signed yet.
        CheckpointRefused: the newest checkpoint is not signed with one of the keys.
    """
    demand_auditor(session)
    newest = checkpoints.newest(store, checkpoints.trust(verify_key, *retired_keys))
    if newest is None:
        raise Conflict(
            "No event has been signed yet: the first checkpoint is made within a minute of the first event."
        )
    yield _header_line(newest)
    for event in stream(session, last=newest.link.seq):
        yield _event_line(event)


def verify_export(
    lines: Iterable[bytes],
    public_key: bytes,
    *,
    retired_keys: Sequence[bytes] = (),
    progress: Progress = lambda _: None,
) -> Verification:
    """Verify an export with nothing but the installation's public key, 32 raw bytes."""
    started = time.perf_counter()
    numbered = enumerate(lines, start=1)
    try:
        checkpoint = _read_header(numbered)
        checkpoint.verify(checkpoints.trust(public_key, *retired_keys))
        signed = {checkpoint.link.seq: checkpoint.link.hash}
        walked = walk(
            _read_events(numbered, last=checkpoint.link.seq),
            start=GENESIS,
            checkpoints=signed,
            progress=progress,
        )
    except (CheckpointRefused, InvalidRequest) as error:
        walked = nowhere(str(error))
    return conclude(walked, started)


def _line(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def _header_line(checkpoint: Checkpoint) -> bytes:
    return _line({"format": _FORMAT, "checkpoint": checkpoint.to_json()})


def _event_line(event: ChainedEvent) -> bytes:
    said = dict(zip(FIELDS, event.fields, strict=True))
    return _line({"seq": event.seq, **said, "hash": event.hash.hex()})


def _read_header(numbered: Iterator[tuple[int, bytes]]) -> Checkpoint:
    _, line = next(numbered, (1, b""))
    header = _read_json(1, line)
    if header.get("format") != _FORMAT:
        raise InvalidRequest(f"Expected a file that begins with the format {_FORMAT}. Received another one.")
    checkpoint = checkpoints.from_json(str(header.get("checkpoint")))
    if _header_line(checkpoint) != line:
        raise InvalidRequest("line 1 is not as it was exported")
    return checkpoint


def _read_events(numbered: Iterator[tuple[int, bytes]], *, last: int) -> Iterator[ChainedEvent]:
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
