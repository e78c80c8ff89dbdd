"""Keeps one slot of the worker free for staff who wait: `bulk` may hold all others."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock


class BulkSlots:
    """How many chunks of bulk work may still be taken. Thread-safe.

    Args:
        worker_slots: chunks that the worker holds at a time. With a single one it serves both queues.
    """

    def __init__(self, worker_slots: int) -> None:
        self._free = max(1, worker_slots - 1)
        self._lock = Lock()

    @contextmanager
    def reserved(self) -> Iterator["Reservation"]:
        """Reserve a slot for bulk work, if one is free, until the block ends or it is given back."""
        reservation = Reservation(self)
        try:
            yield reservation
        finally:
            reservation.give_back()

    def take(self) -> bool:
        with self._lock:
            if self._free == 0:
                return False
            self._free -= 1
            return True

    def put_back(self) -> None:
        with self._lock:
            self._free += 1


class Reservation:
    """Whether the holder may take bulk work."""

    def __init__(self, slots: BulkSlots) -> None:
        self._slots = slots
        self.free = slots.take()

    def give_back(self) -> None:
        """Not needed, or not needed any more. Safe to repeat."""
        if self.free:
            self.free = False
            self._slots.put_back()
