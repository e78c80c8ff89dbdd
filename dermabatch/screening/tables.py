"""The tables of screening: its runs, what they did with each file of a source, and the alerts of scheduled ones.

A file of a source is known by a keyed hash of where it lies: neither its name nor its path is kept here.
"""

from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from dermabatch.lifecycle import ScreenedState, ScreeningState
from dermabatch.schema import Base, CreatedAt, DepartmentId, Digest, Id, one_of


class SourceKind(StrEnum):
    """Where a screening finds its images."""

    FOLDER = "folder"
    S3 = "s3"
    DICOMWEB = "dicomweb"
    STORED = "stored"  # what this system has taken in before: a rescoring


class CutShort(StrEnum):
    """Why a screening left some of its source for the next one."""

    BUDGET = "budget"
    DEADLINE = "deadline"


class AlertKind(StrEnum):
    """What is wrong with a scheduled screening."""

    NOT_STARTED = "not_started"
    STOPPED = "stopped"
    STALLED = "stalled"
    LATE = "late"


class ScreeningRun(Base):
    """One screening of one source, over all its starts."""

    __tablename__ = "screening_runs"
    __table_args__ = (
        UniqueConstraint("name", "night"),
        CheckConstraint("(name IS NULL) = (night IS NULL)", name="scheduled_has_name_and_night"),
        CheckConstraint("(state = 'stopped') = (stopped_by IS NOT NULL)", name="stopped_says_by_what"),
        CheckConstraint("(state = 'completed') = (completed_at IS NOT NULL)", name="completed_has_time"),
        CheckConstraint(
            "state NOT IN ('classifying', 'completed')"
            " OR handled = skipped + taken_in + rescored + refused + unreadable",
            name="adds_up",
        ),
        CheckConstraint("image_budget > 0", name="budget_counts"),
        # Whoever starts an unfinished screening by hand again goes on with it.
        Index(
            "uq_screening_runs_unfinished",
            "department_id",
            "source_hash",
            unique=True,
            postgresql_where=text("name IS NULL AND state <> 'completed'"),
        ),
    )

    id: Mapped[Id]
    department_id: Mapped[DepartmentId]
    started_by: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str | None]
    """Of its schedule; None where a person started it."""
    night: Mapped[date | None]
    """In the hospital's time zone, the day on which it was to begin."""
    source: Mapped[SourceKind] = mapped_column(one_of(SourceKind))
    source_hash: Mapped[bytes]
    """Keyed: equal for two runs over the same source with the same wish."""
    model_digest: Mapped[Digest] = mapped_column(ForeignKey("models.digest"))
    """Active at its last start, or the one that was asked for."""
    pinned: Mapped[bool]
    """The model was asked for: every chunk waits for this one, whichever is active."""
    state: Mapped[ScreeningState] = mapped_column(one_of(ScreeningState))
    starts: Mapped[int] = mapped_column(server_default="1")
    """Raised by every start: whoever holds an older number may write no more."""
    deadline: Mapped[datetime | None]
    image_budget: Mapped[int | None]
    cut_short: Mapped[CutShort | None] = mapped_column(one_of(CutShort))
    stopped_by: Mapped[str | None]
    """Code of the error, or `interrupted`."""

    known: Mapped[int] = mapped_column(server_default="0")
    """Files of the present listing that earlier runs had settled, told by their rows alone."""
    handled: Mapped[int] = mapped_column(server_default="0")
    """Files that this run itself had to look at, each counted once over all starts. The rest is what became of them."""
    skipped: Mapped[int] = mapped_column(server_default="0")
    taken_in: Mapped[int] = mapped_column(server_default="0")
    rescored: Mapped[int] = mapped_column(server_default="0")
    refused: Mapped[int] = mapped_column(server_default="0")
    unreadable: Mapped[int] = mapped_column(server_default="0")
    reasons: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}")
    """How many files were refused or unreadable, by code."""

    started_at: Mapped[CreatedAt]
    progress_at: Mapped[CreatedAt]
    listed_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]


class ScreeningUpload(Base):
    """One batch of a run, planned before it is handed in. The batch, if it comes to one, has the same id."""

    __tablename__ = "screening_uploads"

    id: Mapped[Id]
    department_id: Mapped[DepartmentId]
    run_id: Mapped[UUID] = mapped_column(ForeignKey("screening_runs.id"), index=True)
    settled: Mapped[bool] = mapped_column(server_default=sa.false())
    created_at: Mapped[CreatedAt]


class ScreenedFile(Base):
    """What was done with one file of a source the last time it was looked at."""

    __tablename__ = "screened_files"
    __table_args__ = (
        CheckConstraint(
            "(state IN ('refused', 'unreadable')) = (reason_code IS NOT NULL)", name="refused_has_a_reason"
        ),
        CheckConstraint(
            "state NOT IN ('taken_in', 'rescored') OR sha256 IS NOT NULL", name="taken_in_has_a_digest"
        ),
        Index("ix_screened_files_run_id_state", "run_id", "state"),
    )

    department_id: Mapped[UUID] = mapped_column(ForeignKey("departments.id"), primary_key=True)
    key_hash: Mapped[bytes] = mapped_column(primary_key=True)
    """Keyed hash of where the file lies."""
    version: Mapped[str | None]
    """Size and time, or the storage's tag: while it is the same, the content is."""
    sha256: Mapped[Digest | None]
    state: Mapped[ScreenedState] = mapped_column(one_of(ScreenedState))
    reason_code: Mapped[str | None]
    run_id: Mapped[UUID] = mapped_column(ForeignKey("screening_runs.id"))
    upload_id: Mapped[UUID | None] = mapped_column(ForeignKey("screening_uploads.id"), index=True)


class Rescoring(Base):
    """A chunk that a run made of stored images, for its model to look at."""

    __tablename__ = "rescorings"

    chunk_id: Mapped[UUID] = mapped_column(ForeignKey("chunks.id"), primary_key=True)
    run_id: Mapped[UUID] = mapped_column(ForeignKey("screening_runs.id"), index=True)
    department_id: Mapped[DepartmentId]


class ScreeningAlert(Base):
    """That something is wrong with a scheduled screening: told once for each night and kind."""

    __tablename__ = "screening_alerts"
    __table_args__ = (UniqueConstraint("name", "night", "kind"),)

    id: Mapped[Id]
    name: Mapped[str]
    night: Mapped[date]
    kind: Mapped[AlertKind] = mapped_column(one_of(AlertKind))
    message: Mapped[str]
    raised_at: Mapped[CreatedAt]
    tried_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    """When every channel had taken it."""
