"""One start of a run: with what it works, how it tells, how it is stopped, and how it waits for the workers."""

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from threading import Event
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from dermabatch.audit import Action, Actor, Outcome
from dermabatch.database import Sessions
from dermabatch.errors import DermabatchError
from dermabatch.imaging.sandbox import DecoderPool
from dermabatch.intake.judging import ReadsDicom
from dermabatch.lifecycle import ScreeningState
from dermabatch.objects import ObjectStore, S3ObjectStore
from dermabatch.queue import WakeUp
from dermabatch.screening.counting import RunReport, outstanding, report_of
from dermabatch.screening.runs import INTERRUPTED, Run, note
from dermabatch.settings import Settings
from dermabatch.subjects import KeyRing

_LOOK_SECONDS: Final = 1.0


class Interrupted(DermabatchError):
    """The screening was told to stop. What was taken in stays, and the next start goes on."""

    code = INTERRUPTED


@dataclass(frozen=True, slots=True)
class Means:
    """With what a screening takes in: as `accept_upload` wants it."""

    sessions: Sessions
    store: ObjectStore
    keyring: KeyRing
    wake_up: WakeUp
    decoders: ReadsDicom
    settings: Settings

    @classmethod
    def open(cls, settings: Settings, sessions: Sessions, stack: ExitStack) -> "Means":
        """Those of a program with the portal's role, closed with the stack. Before any thread: decoders are forked."""
        return cls(
            sessions=sessions,
            store=S3ObjectStore.from_settings(settings),
            keyring=KeyRing(settings.master_key),
            wake_up=stack.enter_context(closing(WakeUp(settings))),
            decoders=stack.enter_context(DecoderPool(1)),
            settings=settings,
        )


@dataclass(slots=True)
class Submitter:
    """In whose name, and for which department."""

    id: UUID
    department_id: UUID


@dataclass(slots=True)
class Progress:
    """How far this start of a run is; only ever counted up, for people who look."""

    listed: int = 0
    taken_in: int = 0
    outstanding: int | None = None
    """Images that workers have still to look at; None while the source is being listed."""


Tell = Callable[[Progress], None]


class Attempt:
    """What every run does besides listing: tell, stop when told to, wait for the workers."""

    def __init__(self, run: Run, *, means: Means, actor: Actor, stop: Event, tell: Tell) -> None:
        self._run = run
        self._means = means
        self._actor = actor
        self._stop = stop
        self._tell = tell
        self._progress = Progress()

    def go_on(self, *, listed: int = 0, taken_in: int = 0) -> None:
        """Tell how far it is.

        Raises:
            Interrupted: told to stop.
        """
        self._progress.listed += listed
        self._progress.taken_in += taken_in
        self._tell(self._progress)
        if self._stop.is_set():
            raise Interrupted("Told to stop. What was taken in stays; the next start goes on.")

    def wait_for_workers(self) -> RunReport:
        """Stay until every image has its answer; then the run is completed. Raises as `go_on`."""
        while True:
            with self._run.reading() as session:
                self._progress.outstanding = outstanding(session, self._run.id)
            self.go_on()
            if self._progress.outstanding == 0:
                return self._complete()
            self._stop.wait(_LOOK_SECONDS)

    def _complete(self) -> RunReport:
        ended = sa.func.clock_timestamp()
        with self._run.writing(state=ScreeningState.COMPLETED, completed_at=ended) as session:
            report = report_of(session, self._run.id)
            details = {
                "listed": report.files.listed,
                "skipped": report.files.skipped,
                "taken_in": report.files.taken_in,
                "rescored": report.files.rescored,
                "refused": report.files.refused,
                "unreadable": report.files.unreadable,
                "cut_short": report.cut_short,
            }
            note(session, self._run, Action.SCREENING_ENDED, Outcome.SUCCESS, self._actor, details)
        return report
