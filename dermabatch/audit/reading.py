"""Events as the chain hashes them, read from the database.

The database itself spells every field as text, so that what is hashed never depends on a driver's types.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dermabatch.audit.chain import FIELDS, GENESIS, ChainedEvent, Link
from dermabatch.audit.tables import AuditEvent, AuditPending
from dermabatch.errors import NotAllowed

_FETCH_ROWS = 5000


def text_fields(table: type[AuditEvent | AuditPending]) -> Sequence[sa.ColumnElement[Any]]:
    """The columns of `chain.FIELDS` as texts."""
    recorded_at = sa.func.to_char(
        sa.func.timezone("UTC", table.recorded_at), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"', type_=sa.Text
    )
    others = (sa.cast(getattr(table, name), sa.Text) for name in FIELDS if name != "recorded_at")
    return (recorded_at, *others)


def stream(
    session: Session, *, after: int | None = None, through: int | None = None
) -> Iterator[ChainedEvent]:
    """Events in the order of `seq`, through a cursor in the server: memory does not grow with the chain.

    Args:
        after: leave out events up to this one. None leaves out nothing, not even numbers the chain never had.
        through: leave out events beyond this one.
    """
    events = sa.select(AuditEvent.seq, *text_fields(AuditEvent), AuditEvent.hash).order_by(AuditEvent.seq)
    if after is not None:
        events = events.where(AuditEvent.seq > after)
    if through is not None:
        events = events.where(AuditEvent.seq <= through)
    rows = session.execute(events, execution_options={"yield_per": _FETCH_ROWS})
    for block in rows.partitions():
        for row in block:
            yield ChainedEvent(row[0], row[1:-1], row[-1])


def tail(session: Session) -> Link:
    """The last event of the chain, or GENESIS where there is none."""
    newest = sa.select(AuditEvent.seq, AuditEvent.hash).order_by(AuditEvent.seq.desc()).limit(1)
    return _link(session, newest) or GENESIS


def link_at(session: Session, seq: int) -> Link | None:
    """The event with this number as it stands in the table."""
    if seq == GENESIS.seq:
        return GENESIS
    return _link(session, sa.select(AuditEvent.seq, AuditEvent.hash).where(AuditEvent.seq == seq))


def _link(session: Session, query: sa.Select[int, bytes]) -> Link | None:
    row = session.execute(query).first()
    return None if row is None else Link(*row)


def demand_auditor(session: Session) -> None:
    """To a session of one department the chain would look full of holes.

    Raises:
        NotAllowed: the session was not opened with `auditor=True`.
    """
    if not session.info["auditor"]:
        raise NotAllowed(
            "Expected a session of an auditor, who sees the whole trail. Received one of a department."
        )
