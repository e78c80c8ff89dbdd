"""Result files that are whole or not there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dermabatch.errors import InvalidRequest


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """A file beside `out` that takes its place when all went well, and leaves no trace when not.

    It is made at once, before any long work, so that a place where nobody may write is found early.

    Raises:
        InvalidRequest: there is no such folder, or no right to write there.
    """
    partial = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        partial.touch(exist_ok=False)
    except OSError as error:
        raise InvalidRequest(f"Expected a place to write {out}. Received: {error.strerror}") from None
    try:
        yield partial
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
