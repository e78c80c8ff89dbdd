"""Identifiers of rows and objects."""

from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """A UUIDv7: opaque to the reader, in order of creation, so that indexes grow at their right edge."""
    return uuid7()
