"""Reads planned files some way ahead and decides what is handed in. What was found out is noted before it is."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from threading import Event
from typing import Final, TypeVar

from dermabatch.errors import ImageRejected
from dermabatch.intake import Incoming, IncomingFile, IntakeReason, RefusedFile
from dermabatch.intake.incoming import ReceivedFile
from dermabatch.intake.metadata import MetadataRow
from dermabatch.intake.signatures import archive_kind
from dermabatch.intake.unpacking import is_litter
from dermabatch.lifecycle import ScreenedState
from dermabatch.queue import WakeUp
from dermabatch.screening.attempt import Interrupted
from dermabatch.screening.files import UNKNOWN, Content, Decision, Listed, find_content, write_decisions
from dermabatch.screening.rescoring import show_packs
from dermabatch.screening.runs import Run
from dermabatch.screening.sources import NOT_READ, Source, SourceFile

_READ_FILES: Final = 32
_READ_BYTES: Final = 64 * 2**20
_USUAL_BYTES: Final = 8 * 2**20
"""Taken for a file whose source does not say how large it is."""

_READERS: Final = 8
"""Threads that wait for a source. One file of an archive far away takes longer than ten on their way to a pack."""

_SIGNATURE_BYTES: Final = 512

_Thing = TypeVar("_Thing")


@dataclass(frozen=True, slots=True)
class Planned:
    """A file that the next upload is to bring."""

    file: SourceFile
    listed: Listed
    row: MetadataRow | ImageRejected | None
    """Its line of the source's CSV, or why it cannot have one."""
    counted: bool
    """By an earlier start of this run, whose upload came to nothing."""


class Reader:
    """Reads for one run. Use as a context manager.

    Args:
        max_file_bytes: of a larger file no more is held than this.
    """

    def __init__(
        self, run: Run, source: Source, *, max_file_bytes: int, wake_up: WakeUp, stop: Event
    ) -> None:
        self._run = run
        self._source = source
        self._max_file_bytes = max_file_bytes
        self._wake_up = wake_up
        self._stop = stop
        self._threads = ThreadPoolExecutor(_READERS, thread_name_prefix="source")

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_error: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    def stream(self, planned: Sequence[Planned]) -> Iterator[Incoming]:
        """What is to be taken in of these.

        Raises:
            Interrupted: told to stop.
            SourceUnavailable: nothing can be read any more.
        """
        brought: set[str] = set()
        sized = portions(planned, most=_READ_FILES, size_of=lambda one: one.file.size or _USUAL_BYTES)
        for group in sized:
            if self._stop.is_set():
                raise Interrupted("Told to stop. What was taken in stays; the next start goes on.")
            yield from self._decide(group, list(self._threads.map(self._read, group)), brought)

    def _read(self, planned: Planned) -> bytes | ImageRejected:
        if isinstance(planned.row, ImageRejected):
            return planned.row
        try:
            data = self._source.read(planned.file, at_most=self._max_file_bytes)
        except ImageRejected as rejected:
            return rejected
        if archive_kind(data[:_SIGNATURE_BYTES]) is not None:
            return ImageRejected(
                IntakeReason.NESTED_ARCHIVE, "a screening does not open archives: hand it in by itself"
            )
        return data

    def _decide(
        self, group: Sequence[Planned], read: Sequence[bytes | ImageRejected], brought: set[str]
    ) -> list[Incoming]:
        run = self._run
        digests = [hashlib.sha256(data).hexdigest() if isinstance(data, bytes) else "" for data in read]
        with run.writing() as session:
            content = find_content(session, run.department_id, set(digests), model=run.model_digest)
            decisions = [
                _decision(planned, data, digest, content.get(digest, UNKNOWN), brought)
                for planned, data, digest in zip(group, read, digests, strict=True)
            ]
            write_decisions(session, run.department_id, decisions)
            packs = {
                pack
                for decision in decisions
                if decision.state is ScreenedState.RESCORED and decision.sha256
                for pack in content[decision.sha256].packs
            }
            made = show_packs(session, run, packs)
        self._wake_up.send(made)
        return [
            _incoming(planned, data)
            for planned, data, decision in zip(group, read, decisions, strict=True)
            if decision.state not in (ScreenedState.SKIPPED, ScreenedState.RESCORED)
        ]


def portions(
    things: Iterable[_Thing], *, most: int, size_of: Callable[[_Thing], int] = lambda _thing: 0
) -> Iterator[list[_Thing]]:
    """Lists of at most so many things and, where one knows their size, 64 MiB; fetched as they are asked for."""
    portion: list[_Thing] = []
    size = 0
    for thing in things:
        added = size_of(thing)
        if portion and (len(portion) == most or size + added > _READ_BYTES):
            yield portion
            portion, size = [], 0
        portion.append(thing)
        size += added
    if portion:
        yield portion


def _decision(
    planned: Planned, data: bytes | ImageRejected, digest: str, found: Content, brought: set[str]
) -> Decision:
    key = planned.listed.key_hash
    if isinstance(data, ImageRejected):
        state = ScreenedState.UNREADABLE if data.reason in NOT_READ else ScreenedState.REFUSED
        return Decision(key, state, reason_code=data.reason)
    if is_litter(ReceivedFile(planned.file.name, data)):
        return Decision(key, ScreenedState.SKIPPED)
    if found.judged or digest in brought:
        return Decision(key, ScreenedState.SKIPPED, digest)
    if found.packs:
        return Decision(key, ScreenedState.RESCORED, digest)
    brought.add(digest)
    return Decision(key, ScreenedState.LISTED, digest)


def _incoming(planned: Planned, data: bytes | ImageRejected) -> Incoming:
    if isinstance(data, ImageRejected):
        return RefusedFile(planned.file.name, data.reason, str(data))
    return IncomingFile(planned.file.name, BytesIO(data))
