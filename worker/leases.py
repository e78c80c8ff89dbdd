"""Keeps the leases of the chunks this worker holds, and notices chunks that hang."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread

import structlog
from sqlalchemy.exc import SQLAlchemyError

from dermabatch import ledger
from dermabatch.database import Sessions

log = structlog.get_logger(__name__)


class LeaseKeeper:
    """Renews every held lease from one thread, up to the chunk's deadline.

    Args:
        sessions: of the worker's role.
        lease_seconds: what a renewal gives.
        renew_seconds: how often to renew; well under a half of `lease_seconds`, so that one lost try costs nothing.
        deadline_seconds: a chunk held for longer hangs.
        on_overdue: called once when a chunk hangs. A hung thread cannot be stopped, so this ends the process.
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
        self._lock = Lock()
        self._stop = Event()
        self._thread = Thread(target=self._run, name="leases", daemon=True)

    def start(self) -> None:
        """Begin renewing."""
        self._thread.start()

    def stop(self) -> None:
        """Renew no more; what is still held lapses by itself."""
        self._stop.set()
        self._thread.join()

    @contextmanager
    def keep(self, claim: ledger.Claim) -> Iterator[None]:
        """Hold a claim for as long as the block runs."""
        with self._lock:
            self._held[claim] = time.monotonic() + self._deadline_seconds
        try:
            yield
        finally:
            with self._lock:
                del self._held[claim]

    def _run(self) -> None:
        while not self._stop.wait(self._renew_seconds):
            with self._lock:
                held = dict(self._held)
            for claim, deadline in held.items():
                if time.monotonic() > deadline:
                    self._on_overdue(claim)
                else:
                    self._renew(claim)

    def _renew(self, claim: ledger.Claim) -> None:
        try:
            with self._sessions.begin() as session:
                kept = ledger.renew(session, claim, lease_seconds=self._lease_seconds)
        except SQLAlchemyError as error:
            log.warning("lease_not_renewed", chunk=str(claim.chunk_id), error=str(error))
            return
        if not kept:
            log.warning("lease_lost", chunk=str(claim.chunk_id), lease_no=claim.lease_no)
