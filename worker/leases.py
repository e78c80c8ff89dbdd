"""Keeps the leases of the chunks this worker holds, and notices chunks that hang."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread

import structlog

from dermabatch import ledger
from dermabatch.database import Sessions
from dermabatch.errors import ServiceUnavailable

log = structlog.get_logger(__name__)

_WATCH_SECONDS = 1.0


class LeaseKeeper:
    """Renews every held lease, up to the chunk's deadline.

    Renewing and watching are two threads: a database that hangs must not keep a hung chunk from being noticed.

    Args:
        sessions: of the worker's role.
        lease_seconds: what a renewal gives.
        renew_seconds: how often to renew; well under a half of `lease_seconds`, so that one lost try costs nothing.
        deadline_seconds: a chunk that made no progress for longer hangs.
        on_overdue: called when a chunk hangs. A hung thread cannot be stopped, so this ends the process.
    """

    def __init__(
        self,
        sessions: Sessions,
        *,
        lease_seconds: float,
        renew_seconds: float,
        deadline_seconds: float,
        on_overdue: Callable[[ledger.Claim], None],
    ) -> None:
        self._sessions = sessions
        self._lease_seconds = lease_seconds
        self._renew_seconds = renew_seconds
        self._deadline_seconds = deadline_seconds
        self._on_overdue = on_overdue
        self._held: dict[ledger.Claim, float] = {}
        """Claims and when, by the monotonic clock, they count as hung."""
        self._lock = Lock()
        self._stop = Event()
        self._threads = [
            Thread(target=self._renew_all, name="leases", daemon=True),
            Thread(target=self._watch, name="deadlines", daemon=True),
        ]

    def start(self) -> None:
        """Begin renewing."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Renew no more; what is still held lapses by itself."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @contextmanager
    def keep(self, claim: ledger.Claim) -> Iterator[None]:
        """Hold a claim for as long as the block runs."""
        self.note_progress(claim)
        try:
            yield
        finally:
            with self._lock:
                del self._held[claim]

    def note_progress(self, claim: ledger.Claim) -> None:
        """The chunk is slow but does not hang: its deadline starts anew."""
        with self._lock:
            self._held[claim] = time.monotonic() + self._deadline_seconds

    def _renew_all(self) -> None:
        while not self._stop.wait(self._renew_seconds):
            for claim in self._deadlines():
                self._renew(claim)

    def _renew(self, claim: ledger.Claim) -> None:
        try:
            with self._sessions.begin() as session:
                kept = ledger.renew(session, claim, lease_seconds=self._lease_seconds)
        except ServiceUnavailable as error:
            log.warning("lease_not_renewed", chunk=str(claim.chunk_id), error=str(error))
        except Exception:
            # Whatever it was: were this thread to end, every further lease would be lost unnoticed.
            log.exception("lease_not_renewed", chunk=str(claim.chunk_id))
        else:
            if not kept:
                log.warning("lease_lost", chunk=str(claim.chunk_id), lease_no=claim.lease_no)

    def _watch(self) -> None:
        while not self._stop.wait(min(_WATCH_SECONDS, self._deadline_seconds)):
            for claim, deadline in self._deadlines().items():
                if time.monotonic() > deadline:
                    self._on_overdue(claim)

    def _deadlines(self) -> dict[ledger.Claim, float]:
        with self._lock:
            return dict(self._held)
