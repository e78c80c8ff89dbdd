"""Screens a source: lists it, takes in what no run before has, waits for the workers. It may be killed anywhere.

Rows say what has been done with each file, so a start after a kill lists again and goes on. An upload is planned in its
rows before any file of it is read; each batch that people see was settled there, or is by the next start.
"""

import time
from collections.abc import Iterator, Sequence
from itertools import chain
from threading import Event
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from dermabatch.audit import Actor
from dermabatch.errors import ImageRejected
from dermabatch.identifiers import new_id
from dermabatch.intake import Incoming, IntakeReason, Metadata, accept_upload
from dermabatch.intake.abandonment import abandon, delete_abandoned
from dermabatch.intake.metadata import Matching, MetadataRow
from dermabatch.lifecycle import BatchState, Queue, ScreenedState, ScreeningState
from dermabatch.schema import Batch
from dermabatch.screening import files as rows
from dermabatch.screening.attempt import Attempt, Interrupted, Means, Submitter, Tell
from dermabatch.screening.counting import RunReport, file_counts, settled_figures
from dermabatch.screening.files import UNKNOWN, Listed
from dermabatch.screening.reading import Planned, Reader, portions
from dermabatch.screening.rescoring import show_packs
from dermabatch.screening.runs import Run, Wish, started
from dermabatch.screening.sources import Source, SourceFile
from dermabatch.screening.tables import CutShort, ScreenedFile, ScreeningRun, ScreeningUpload

UPLOAD_FILES: Final = 512
"""Files of one batch: what a kill makes us read again, and a page that people can still look through."""


def screen(
    source: Source,
    wish: Wish,
    *,
    means: Means,
    actor: Actor,
    stop: Event,
    tell: Tell = lambda _progress: None,
) -> RunReport | None:
    """Screen a source to its end; None where this night's run has been completed already.

    Args:
        stop: when set, the run is stopped at the next file.
        tell: hears often how far it is.

    Raises:
        Interrupted: told to stop.
        SourceUnavailable: the source is gone, or refuses our credentials.
        ServiceUnavailable: storage or database do not answer.
        Conflict: the same source is being screened already.
    """
    with started(wish, sessions=means.sessions, keyring=means.keyring, actor=actor) as run:
        if run is None:
            return None
        submitter = Submitter(wish.started_by, wish.department_id)
        screening = _Screening(run, source, submitter, means=means, actor=actor, stop=stop, tell=tell)
        screening.recover()
        cut_short = screening.take_in()
        screening.close_listing(cut_short)
        return screening.wait_for_workers()


class _Screening(Attempt):
    """One start of one run over a source."""

    def __init__(
        self,
        run: Run,
        source: Source,
        submitter: Submitter,
        *,
        means: Means,
        actor: Actor,
        stop: Event,
        tell: Tell,
    ) -> None:
        super().__init__(run, means=means, actor=actor, stop=stop, tell=tell)
        self._source = source
        self._submitter = submitter
        self._ends = _moment_of(run)
        self._matching = Matching(source.metadata())

    def recover(self) -> None:
        """Settle what an earlier start left open: its uploads either became batches or came to nothing."""
        with self._run.reading() as session:
            left = session.scalars(
                sa.select(ScreeningUpload.id).where(
                    ScreeningUpload.run_id == self._run.id, ~ScreeningUpload.settled
                )
            ).all()
        for upload_id in left:
            with self._run.writing() as session:
                # Whoever was uploading it is dead, or has lost the right to go on.
                abandon(session, upload_id, actor=self._actor, why=Interrupted.code)
                batch = session.get(Batch, upload_id, populate_existing=True)
                is_batch = batch is not None and batch.state is not BatchState.ABANDONED
                (rows.settle if is_batch else rows.release)(session, upload_id)
            delete_abandoned(
                sessions=self._means.sessions,
                store=self._means.store,
                department=self._run.department_id,
                batch_id=upload_id,
            )

    def take_in(self) -> CutShort | None:
        """Everything that the source lists and no run before has settled; returns why some of it was left."""
        with Reader(
            self._run,
            self._source,
            max_file_bytes=self._means.settings.max_file_bytes,
            wake_up=self._means.wake_up,
            stop=self._stop,
        ) as reader:
            for planned in self._uploads():
                if (why := self._must_end()) is not None:
                    return why
                self._upload(planned, reader)
        return None

    def close_listing(self, cut_short: CutShort | None) -> None:
        """Freeze the figures of the files: from here on only workers have something to do."""
        with self._run.writing() as session:
            left = sa.and_(ScreenedFile.run_id == self._run.id, ScreenedFile.state == ScreenedState.LISTED)
            unsettled = session.scalar(sa.select(sa.func.count()).where(left)) or 0
            if unsettled and cut_short is None:
                # An earlier start had listed them, and this whole listing did not.
                gone = {"state": ScreenedState.UNREADABLE, "reason_code": IntakeReason.VANISHED}
                session.execute(sa.update(ScreenedFile).where(left).values(gone))
                unsettled = 0
            figures = settled_figures(session, self._run.id)
            session.execute(
                sa.update(ScreeningRun)
                .where(ScreeningRun.id == self._run.id)
                .values(
                    **figures,
                    # What was planned once and not reached again is the next run's.
                    handled=ScreeningRun.handled - unsettled,
                    state=ScreeningState.CLASSIFYING,
                    cut_short=cut_short,
                    listed_at=sa.func.clock_timestamp(),
                )
            )

    def _must_end(self) -> CutShort | None:
        if self._ends is not None and time.monotonic() >= self._ends:
            return CutShort.DEADLINE
        return CutShort.BUDGET if self._budget_left() == 0 else None

    def _budget_left(self) -> int:
        """Images that may still be taken in, `UPLOAD_FILES` at most."""
        if self._run.image_budget is None:
            return UPLOAD_FILES
        with self._run.reading() as session:
            counts = file_counts(session, self._run.id)
        return max(0, min(UPLOAD_FILES, self._run.image_budget - counts.taken_in - counts.rescored))

    def _uploads(self) -> Iterator[list[Planned]]:
        """What is new, in portions of one batch each."""
        settings = self._means.settings
        waiting: dict[bytes, Planned] = {}  # a listing may name a file twice while it changes
        size = 0
        most = min(self._budget_left(), settings.max_upload_files)
        for new in self._new_files():
            added = min(new.file.size or settings.max_file_bytes, settings.max_file_bytes)
            if waiting and (len(waiting) >= most or size + added > settings.max_upload_bytes):
                yield list(waiting.values())
                most = min(self._budget_left(), settings.max_upload_files)
                waiting, size = {}, 0
            waiting[new.listed.key_hash] = new
            size += added
        if waiting:
            yield list(waiting.values())

    def _new_files(self) -> Iterator[Planned]:
        for listed in portions(self._source.files(), most=UPLOAD_FILES):
            by_hash = {self._hash(file): file for file in listed}
            yield from self._new_among(by_hash)
            self.go_on(listed=len(by_hash))

    def _new_among(self, by_hash: dict[bytes, SourceFile]) -> Iterator[Planned]:
        run = self._run
        with run.reading() as session:
            known = rows.find_rows(session, run.department_id, by_hash)
            digests = {row.sha256 for row in known.values() if row.sha256 is not None}
            content = rows.find_content(session, run.department_id, digests, model=run.model_digest)
        settled = 0
        rescored: dict[bytes, tuple[Listed, str]] = {}
        packs: set[UUID] = set()
        new: list[Planned] = []
        for key_hash, file in by_hash.items():
            listed = Listed(key_hash, file.version)
            row = known.get(key_hash)
            particulars = self._particulars(file)
            if row is not None and row.run_id == run.id and row.state is not ScreenedState.LISTED:
                continue  # an earlier start of this run has counted it
            if row is None or not _is_settled(row, file):
                ours = row is not None and row.run_id == run.id
                new.append(Planned(file, listed, particulars, counted=ours))
            elif (
                row.state is ScreenedState.REFUSED
                or row.sha256 is None
                or (found := content.get(row.sha256, UNKNOWN)).judged
            ):
                settled += 1
            elif found.packs:
                rescored[key_hash] = listed, row.sha256
                packs.update(found.packs)
            else:
                new.append(Planned(file, listed, particulars, counted=False))
        self._note_known(settled, rescored, packs)
        yield from new

    def _note_known(self, settled: int, rescored: dict[bytes, tuple[Listed, str]], packs: set[UUID]) -> None:
        if not settled and not rescored:
            return
        run = self._run
        counted = {"known": ScreeningRun.known + settled, "handled": ScreeningRun.handled + len(rescored)}
        made = 0
        with run.writing(**counted) as session:
            if rescored:
                rows.write_rescored(session, run_id=run.id, department_id=run.department_id, files=rescored)
                made = show_packs(session, run, packs)
        self._means.wake_up.send(made)

    def _upload(self, planned: Sequence[Planned], reader: Reader) -> None:
        upload_id = new_id()
        uncounted = sum(not one.counted for one in planned)
        with self._run.writing(handled=ScreeningRun.handled + uncounted) as session:
            rows.write_plan(
                session,
                run_id=self._run.id,
                department_id=self._run.department_id,
                upload_id=upload_id,
                files=[one.listed for one in planned],
            )
        stream = reader.stream(planned)
        first = next(stream, None)
        stored = 0
        if first is not None:
            stored = self._hand_in(upload_id, chain([first], stream), planned)
        with self._run.writing() as session:
            rows.settle(session, upload_id)
        self.go_on(taken_in=stored)

    def _hand_in(self, upload_id: UUID, files: Iterator[Incoming], planned: Sequence[Planned]) -> int:
        means = self._means
        lines = tuple(one.row for one in planned if isinstance(one.row, MetadataRow))
        return accept_upload(
            files=files,
            # Of some of these files the content is known: they do not come.
            metadata=Metadata(lines, (), complete=False) if lines else None,
            submitter=self._submitter,
            actor=self._actor,
            queue=Queue.BULK,
            idempotency_key=None,
            sessions=means.sessions,
            store=means.store,
            keyring=means.keyring,
            wake_up=means.wake_up,
            decoders=means.decoders,
            settings=means.settings,
            batch_id=upload_id,
            wanted_model=self._run.model_digest if self._run.pinned else None,
        ).stored

    def _hash(self, file: SourceFile) -> bytes:
        return self._means.keyring.lookup_hash(self._run.department_id, f"screened {file.key}")

    def _particulars(self, file: SourceFile) -> MetadataRow | ImageRejected | None:
        """The line of the source's CSV that means this file, under the very name it is handed in with."""
        try:
            row = self._matching.take(file.name)
        except ImageRejected as ambiguous:
            return ambiguous
        return None if row is None else MetadataRow(row.line, file.name, row.particulars, row.problem)


def _is_settled(row: ScreenedFile, file: SourceFile) -> bool:
    """Whether nothing has to be read to know what the file is."""
    open_states = (ScreenedState.LISTED, ScreenedState.UNREADABLE)
    return row.state not in open_states and row.version is not None and row.version == file.version


def _moment_of(run: Run) -> float | None:
    """The deadline by the monotonic clock, told once by the database's: a clock that jumps moves neither."""
    if run.deadline is None:
        return None
    with run.reading() as session:
        left: float = session.execute(
            sa.select(sa.func.extract("epoch", sa.literal(run.deadline) - sa.func.clock_timestamp()))
        ).scalar_one()
    return time.monotonic() + float(left)
