"""Events as the chain hashes them, read from the database.

The database itself spells every field as text, so that what is hashed never depends on a driver's types.
"""

from collections.abc import Iterator
from itertools import count
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dermabatch.audit.chain import FIELDS, GENESIS, ChainedEvent, Link
from dermabatch.audit.tables import AuditEvent
from dermabatch.errors import NotAllowed

_FETCH_ROWS = 5000
_FIRST, _LAST = -(2**63), 2**63 - 1
_cursor_numbers = count()

_IN_UTC = """to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
TEXT_FIELDS: Final = ", ".join(_IN_UTC if field == "recorded_at" else f"{field}::text" for field in FIELDS)
"""SQL for the columns of `chain.FIELDS` as texts."""

_EVENTS = (
    f"SELECT seq, {TEXT_FIELDS}, hash FROM audit_events"  # noqa: S608 - our own column names
    " WHERE seq BETWEEN %s AND %s ORDER BY seq"
)


def stream(session: Session, *, first: int = _FIRST, last: int = _LAST) -> Iterator[ChainedEvent]:
    """Events in the order of `seq`, through a cursor in the server: memory does not grow with the chain.

    By default every row comes, also one with a number that the chain could never have given.
    """
    # The driver's own cursor: SQLAlchemy's rows cost more time than hashing does.
    driver = session.connection().connection.driver_connection
    assert driver is not None
    with driver.cursor(f"audit_{next(_cursor_numbers)}") as cursor:
        cursor.itersize = _FETCH_ROWS
        cursor.execute(_EVENTS, (first, last))
        for row in cursor:
            yield ChainedEvent(row[0], row[1:-1], bytes(row[-1]))


def tail(session: Session) -> Link:
    """The last event of the chain, or GENESIS where there is none."""
    newest = sa.select(AuditEvent.seq, AuditEvent.hash).order_by(AuditEvent.seq.desc()).limit(1)
    return _link(session, newest) or GENESIS


def link_at(session: Session, seq: int) -> Link | None:
    """The event with this number as it stands in the table."""
    if seq == GENESIS.seq:
        return GENESIS
    return _link(session, sa.select(AuditEvent.seq, AuditEvent.hash).where(AuditEvent.seq == seq))


def demand_auditor(session: Session) -> None:
    """To a session of one department the chain would look full of holes.

    Raises:
        NotAllowed: the session was not opened with `auditor=True`.
    """
    if not session.info["auditor"]:
        raise NotAllowed(
            "Expected an auditor's session, which sees the whole trail. Received a department's."
        )


def _link(session: Session, query: sa.Select[int, bytes]) -> Link | None:
    row = session.execute(query).first()
    return None if row is None else Link(*row)
