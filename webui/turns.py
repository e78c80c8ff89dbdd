"""Uploads take turns: a crowd of them waits for itself, and leaves the portal to everybody else.

Taking a batch in is the only long work that the portal does. A hundred at once would share its one interpreter with
every page, and a sign-in would wait for all of them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import BoundedSemaphore
from typing import Final

from dermabatch.errors import Crowded

AT_ONCE: Final = 4
"""As many as keep database, storage and decoders busy; more only slow the pages down."""

WAITING: Final = 96
"""Each holds one of the portal's threads (`cli.installation.PORTAL_THREADS`); the rest are for everybody else."""

COME_BACK_AFTER: Final = timedelta(seconds=5)


class Turns:
    """How many uploads are taken in at once, and how many may stand in line. Thread-safe."""

    def __init__(self, at_once: int = AT_ONCE, waiting: int = WAITING) -> None:
        self._inside = BoundedSemaphore(at_once)
        self._in_sight = BoundedSemaphore(at_once + waiting)

    @contextmanager
    def take(self) -> Iterator[None]:
        """Wait for a turn and hold it. To be called when all of the upload has arrived: a slow line takes no turn.

        Raises:
            Crowded: too many wait already.
        """
        if not self._in_sight.acquire(blocking=False):
            raise Crowded(COME_BACK_AFTER)
        try:
            with self._inside:
                yield
        finally:
            self._in_sight.release()
