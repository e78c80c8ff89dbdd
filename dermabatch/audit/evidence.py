"""What signatures say of the chain: its newest signed end for a quick look, all of them for a thorough one."""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dermabatch.audit import chapters as audit_chapters
from dermabatch.audit import checkpoints
from dermabatch.audit.chain import Link
from dermabatch.audit.chapters import Chapter, Gap
from dermabatch.audit.checkpoints import Checkpoint, End
from dermabatch.audit.tables import AuditCheckpoint
from dermabatch.errors import CheckpointRefused
from dermabatch.objects import ObjectStore


@dataclass(frozen=True, slots=True)
class Evidence:
    """Signed ends of the chain, ascending, and the chapters that they stand in."""

    chapters: Sequence[Chapter]
    ends: Sequence[End]

    @property
    def newest(self) -> End | None:
        return self.ends[-1] if self.ends else None

    @property
    def hashes(self) -> dict[int, bytes]:
        """The signed hashes by `seq`."""
        return {end.link.seq: end.link.hash for end in self.ends}

    @property
    def gaps(self) -> tuple[Gap, ...]:
        return tuple(chapter.gap for chapter in self.chapters if chapter.gap is not None)

    def proven_at(self, seq: int) -> datetime | None:
        """When an event was signed, and so was as it had been written; None where nothing was signed yet.

        An event after the newest signature was written after it.
        """
        place = bisect_left(self.ends, seq, key=lambda end: end.link.seq)
        return self.ends[min(place, len(self.ends) - 1)].signed_at if self.ends else None


def newest(session: Session, store: ObjectStore, *, trusted: Collection[bytes]) -> Evidence:
    """The newest signed end alone. It takes two listings and a few reads, however long the trail is.

    Raises:
        CheckpointRefused: what the storage holds was not signed for this trail, or is gone.
    """
    chapters = audit_chapters.load(store, trusted=trusted)
    if not chapters:
        if session.scalar(sa.select(AuditCheckpoint.seq).limit(1)) is not None:
            raise CheckpointRefused("every checkpoint is missing from the storage")
        return Evidence([], [])
    last = chapters[-1]
    checkpoint = checkpoints.newest(store, last.number, last.key)
    return Evidence(chapters, [checkpoint.end if checkpoint else last.end])


def everything(session: Session, store: ObjectStore, *, trusted: Collection[bytes]) -> Evidence:
    """Every signed end that counts. Raises as `newest`."""
    return of(*signed(session, store, trusted=trusted))


def of(chapters: Sequence[Chapter], found: Iterable[Checkpoint]) -> Evidence:
    """What chapters and checkpoints, verified already, say together: those of lost events say nothing any more."""
    limits = {chapter.number: audit_chapters.last_that_counts(chapters, chapter) for chapter in chapters}
    ends: dict[int, End] = {}
    for number, end in [
        *((chapter.number, chapter.end) for chapter in chapters),
        *((checkpoint.chapter, checkpoint.end) for checkpoint in found),
    ]:
        limit = limits[number]
        if end.link.seq > 0 and (limit is None or end.link.seq <= limit):
            # Two chapters sign one end where nothing happened between them; the older signature proves more.
            ends[end.link.seq] = min(end, ends.get(end.link.seq, end), key=lambda each: each.signed_at)
    return Evidence(chapters, [ends[seq] for seq in sorted(ends)])


def signed(
    session: Session, store: ObjectStore, *, trusted: Collection[bytes]
) -> tuple[list[Chapter], list[Checkpoint]]:
    """Every chapter and every checkpoint, also of lost events, with their signatures verified.

    The rows save fetching every object, and nothing more: a row that is missing or not signed is fetched, and
    a row without an object means that somebody deleted from the storage. The order of reading matters: rows
    are written after their objects, and objects after their events, so that a checkpoint made meanwhile
    raises no alarm.

    Raises:
        CheckpointRefused: what the storage holds was not signed for this trail, or is gone.
    """
    rows = _rows(session)
    chapters = audit_chapters.load(store, trusted=trusted)
    stored = {
        (chapter.number, seq)
        for chapter in chapters
        for seq in checkpoints.stored_seqs(store, chapter.number)
    }
    lost = min(rows.keys() - stored, default=None)
    if lost is not None:
        raise CheckpointRefused(f"checkpoint {lost[1]} of chapter {lost[0]} is missing from the storage")
    keys = {chapter.number: chapter.key for chapter in chapters}

    def fetched(number: int, seq: int) -> Checkpoint:
        row = rows.get((number, seq))
        try:
            if row is not None:
                row.verify(keys[number])
                return row
        except CheckpointRefused:
            pass
        return checkpoints.load(store, number, seq, keys[number])

    return chapters, [fetched(number, seq) for number, seq in sorted(stored)]


def _rows(session: Session) -> Mapping[tuple[int, int], Checkpoint]:
    """The checkpoints that the database holds, by chapter and `seq`; their signatures are not yet verified."""
    rows = session.scalars(sa.select(AuditCheckpoint))
    return {
        (row.chapter, row.seq): Checkpoint(row.chapter, Link(row.seq, row.hash), row.signed_at, row.signature)
        for row in rows
    }
