"""The tables of the trail. Who may do what to them stands in the migrations `0002_audit` and
`0005_audit_chapters`.

Nothing here refers to another table: the trail outlives what it speaks of, and appending waits for nobody's
lock.
"""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from dermabatch.schema import Base, CreatedAt


def _checks() -> tuple[CheckConstraint, ...]:
    return (
        CheckConstraint("outcome IN ('success', 'refused', 'failed')", name="outcome"),
        CheckConstraint("actor_kind IN ('person', 'service', 'anonymous')", name="actor_kind"),
        CheckConstraint("details IS JSON OBJECT", name="details_is_json"),
    )


class _EventColumns:
    """What an event says, the same before and after it is chained."""

    recorded_at: Mapped[CreatedAt]
    action: Mapped[str]
    outcome: Mapped[str]
    actor_id: Mapped[UUID | None]
    actor_kind: Mapped[str]
    source: Mapped[str]
    request_id: Mapped[str | None]
    department_id: Mapped[UUID | None]
    object_type: Mapped[str | None]
    object_id: Mapped[str | None]
    details: Mapped[str]
    """A JSON object as text, because exactly these bytes are hashed."""


class AuditPending(_EventColumns, Base):
    """An event that waits for its place in the chain."""

    __tablename__ = "audit_pending"
    __table_args__ = _checks()

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    transaction: Mapped[int] = mapped_column(
        sa.BigInteger, server_default=text("((pg_current_xact_id())::text)::bigint")
    )
    """Who wrote it: tells an event left waiting from one whose transaction has only now committed."""


class AuditEvent(_EventColumns, Base):
    """A link of the chain. `seq` counts from 1 without a gap."""

    __tablename__ = "audit_events"
    __table_args__ = (
        *_checks(),
        CheckConstraint("seq > 0", name="seq_from_one"),
        CheckConstraint("length(hash) = 32", name="hash_is_sha256"),
        Index("ix_audit_events_actor", "actor_id", "seq"),
        Index("ix_audit_events_action", "action", "seq"),
        Index("ix_audit_events_object", "object_id", "seq"),
        Index("ix_audit_events_department", "department_id", "seq"),
        # Time grows with seq but for the length of a transaction: a few pages say where a day lies.
        Index("ix_audit_events_recorded_at", "recorded_at", postgresql_using="brin"),
    )

    seq: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    recorded_at: Mapped[datetime]
    hash: Mapped[bytes]


class AuditCheckpoint(Base):
    """A signed end of the chain, as the storage holds it too. Where they differ, the storage decides."""

    __tablename__ = "audit_checkpoints"

    chapter: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    hash: Mapped[bytes]
    signed_at: Mapped[datetime]
    signature: Mapped[bytes]
