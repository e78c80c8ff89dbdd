"""The tables. The database refuses impossible states, so that no program has to be trusted to avoid them.

Every table that holds a department's work carries `department_id` and is kept apart by forced row-level security
(`migrations`). What could name a person (`*_sealed`) is stored only encrypted with the key of its patient or batch.
"""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, ForeignKey, Index, MetaData, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from dermabatch.identifiers import new_id
from dermabatch.lifecycle import BatchState, ChunkState, ImageState, ModelState, PackState, Queue
from dermabatch.taxonomy import CLASSES
from dermabatch.triage import Triage


class Base(DeclarativeBase):
    """Metadata and column types that all tables share."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        datetime: sa.DateTime(timezone=True),
        bytes: sa.LargeBinary,
        str: sa.Text,
    }


def one_of(values: type[StrEnum]) -> sa.Enum:
    """Text with a CHECK. A native enum cannot lose a value again, and the names in the code are its values."""
    return sa.Enum(
        values,
        native_enum=False,
        create_constraint=True,
        length=16,
        name=values.__name__.lower(),
        values_callable=lambda members: [member.value for member in members],
    )


Id = Annotated[UUID, mapped_column(primary_key=True, default=new_id)]
DepartmentId = Annotated[UUID, mapped_column(ForeignKey("departments.id"), index=True)]
CreatedAt = Annotated[datetime, mapped_column(server_default=func.clock_timestamp())]
Digest = Annotated[str, mapped_column(sa.String(64))]

_PER_CLASS = f"cardinality({{}}) = {len(CLASSES)}"


class Department(Base):
    """A part of the hospital whose patients, batches and results no other part sees."""

    __tablename__ = "departments"

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[CreatedAt]


class Role(Base):
    """What a person may do: `staff` submits and reads, `administrator` reads the trail and activates models."""

    __tablename__ = "roles"

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(unique=True)
    description: Mapped[str] = mapped_column(server_default="")


users_roles = sa.Table(
    "users_roles",
    Base.metadata,
    sa.Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("role_id", ForeignKey("roles.id"), primary_key=True),
)


class User(Base):
    """A person who signs in, or a service principal that acts by itself and cannot sign in.

    Not under row-level security: signing in looks a person up before any department is known.
    """

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint("email = lower(email)", name="email_lower"),
        CheckConstraint("NOT service OR password IS NULL", name="service_has_no_password"),
    )

    id: Mapped[Id]
    email: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    department_id: Mapped[DepartmentId]
    service: Mapped[bool] = mapped_column(server_default=sa.false())
    password: Mapped[str | None]
    active: Mapped[bool] = mapped_column(server_default=sa.true())
    created_at: Mapped[CreatedAt]
    last_login_at: Mapped[datetime | None]
    current_login_at: Mapped[datetime | None]

    roles: Mapped[list[Role]] = relationship(secondary=users_roles, lazy="selectin")
    department: Mapped[Department] = relationship(lazy="joined")


class ApiToken(Base):
    """A secret with which a program acts for a user. Only its hash is kept; the secret is shown once."""

    __tablename__ = "api_tokens"

    id: Mapped[Id]
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    token_hash: Mapped[bytes] = mapped_column(unique=True)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(sa.Text))
    created_at: Mapped[CreatedAt]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]

    user: Mapped[User] = relationship(lazy="joined")


class Subject(Base):
    """A patient, known by a random identifier and found by the keyed hash of the patient number."""

    __tablename__ = "subjects"
    __table_args__ = (
        UniqueConstraint("department_id", "lookup_hash"),
        CheckConstraint(
            "(erased_at IS NULL) = (wrapped_key IS NOT NULL)"
            " AND (erased_at IS NULL) = (lookup_hash IS NOT NULL)"
            " AND (erased_at IS NULL) = (patient_sealed IS NOT NULL)",
            name="erased_means_unreadable",
        ),
    )

    id: Mapped[Id]
    department_id: Mapped[DepartmentId]
    lookup_hash: Mapped[bytes | None]
    patient_sealed: Mapped[bytes | None]
    wrapped_key: Mapped[bytes | None]
    created_at: Mapped[CreatedAt]
    erased_at: Mapped[datetime | None]


class Lesion(Base):
    """One lesion; several images may show it. It is as suspicious as its worst image."""

    __tablename__ = "lesions"
    __table_args__ = (UniqueConstraint("department_id", "lookup_hash"),)

    id: Mapped[Id]
    department_id: Mapped[DepartmentId]
    subject_id: Mapped[UUID | None] = mapped_column(ForeignKey("subjects.id"), index=True)
    lookup_hash: Mapped[bytes]
    label_sealed: Mapped[bytes]
    created_at: Mapped[CreatedAt]


class Batch(Base):
    """What one person handed in at one time."""

    __tablename__ = "batches"
    __table_args__ = (
        CheckConstraint("received >= 0", name="received_counts"),
        CheckConstraint(
            "(state IN ('accepted', 'cancelled')) = (accepted_at IS NOT NULL)", name="accepted_has_time"
        ),
        CheckConstraint("(state = 'cancelled') = (cancelled_at IS NOT NULL)", name="cancelled_has_time"),
        CheckConstraint("state <> 'accepted' OR received > 0", name="accepted_is_not_empty"),
        # An abandoned upload frees its key: the client repeats it.
        Index(
            "uq_batches_idempotency",
            "department_id",
            "submitted_by",
            "idempotency_key",
            unique=True,
            postgresql_where=text("state <> 'abandoned'"),
        ),
        Index("ix_batches_newest", "department_id", text("id DESC")),
    )

    id: Mapped[Id]
    department_id: Mapped[DepartmentId]
    submitted_by: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    queue: Mapped[Queue] = mapped_column(one_of(Queue))
    state: Mapped[BatchState] = mapped_column(one_of(BatchState))
    received: Mapped[int] = mapped_column(server_default="0")
    """Files the stream brought, counted by the stream itself and not from rows."""
    wrapped_key: Mapped[bytes]
    idempotency_key: Mapped[str | None]
    created_at: Mapped[CreatedAt]
    touched_at: Mapped[CreatedAt]
    """Last sign of life of the upload; the sweeper abandons uploads that went silent."""
    accepted_at: Mapped[datetime | None]
    cancelled_at: Mapped[datetime | None]

    submitter: Mapped[User] = relationship(lazy="joined")


class Pack(Base):
    """One object of up to 64 encrypted images, in order."""

    __tablename__ = "packs"
    __table_args__ = (
        UniqueConstraint("batch_id", "ordinal"),
        CheckConstraint("(state = 'stored') = (stored_at IS NOT NULL)", name="stored_has_time"),
        CheckConstraint("deleted_at IS NULL OR state = 'abandoned'", name="only_abandoned_is_deleted"),
        Index(
            "ix_packs_undeleted",
            "batch_id",
            postgresql_where=text("state = 'abandoned' AND deleted_at IS NULL"),
        ),
    )

    id: Mapped[Id]
    department_id: Mapped[DepartmentId]
    batch_id: Mapped[UUID] = mapped_column(ForeignKey("batches.id"))
    ordinal: Mapped[int]
    state: Mapped[PackState] = mapped_column(one_of(PackState))
    object_key: Mapped[str] = mapped_column(unique=True)
    sha256: Mapped[Digest]
    size_bytes: Mapped[int] = mapped_column(sa.BigInteger)
    created_at: Mapped[CreatedAt]
    stored_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]
    """When the storage confirmed that the object of an abandoned pack is gone."""


class Model(Base):
    """A published, immutable model artifact, named by the digest of its manifest."""

    __tablename__ = "models"
    __table_args__ = (
        CheckConstraint(
            "(state = 'rejected') = (gate IS NOT NULL AND NOT (gate ->> 'passed')::boolean)",
            name="rejected_by_its_gate",
        ),
        Index("uq_models_one_active", "state", unique=True, postgresql_where=text("state = 'active'")),
    )

    digest: Mapped[Digest] = mapped_column(primary_key=True)
    name: Mapped[str]
    state: Mapped[ModelState] = mapped_column(one_of(ModelState))
    manifest: Mapped[dict[str, Any]] = mapped_column(JSONB)
    signature: Mapped[bytes]
    published_by: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    published_at: Mapped[CreatedAt]
    gate: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    """How it compared with the model that was active then (`dermabatch.gate.Gate`); None where it was not compared."""

    publisher: Mapped[User] = relationship(lazy="joined")


class Activation(Base):
    """From this moment on, new claims are served by this model."""

    __tablename__ = "activations"
    __table_args__ = (
        CheckConstraint("activated_by <> published_by OR returned", name="needs_a_second_person"),
    )

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    model_digest: Mapped[Digest] = mapped_column(ForeignKey("models.digest"), index=True)
    activated_by: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    published_by: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    returned: Mapped[bool]
    """The model had been active before: one person alone may go back to it."""
    activated_at: Mapped[CreatedAt]

    model: Mapped[Model] = relationship(lazy="joined")
    activator: Mapped[User] = relationship(foreign_keys=[activated_by], lazy="joined")


class ScheduledRun(Base):
    """A job that the clock starts, at most once a day: whoever inserts the row runs it."""

    __tablename__ = "scheduled_runs"
    __table_args__ = (CheckConstraint("(ended_at IS NULL) = (exit_code IS NULL)", name="ended_with_a_code"),)

    job: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    started_at: Mapped[CreatedAt]
    starts: Mapped[int] = mapped_column(server_default="1")
    """More than one where the host went down in the middle."""
    ended_at: Mapped[datetime | None]
    exit_code: Mapped[int | None]


class Chunk(Base):
    """Images of one pack that a worker claims and records together."""

    __tablename__ = "chunks"
    __table_args__ = (
        CheckConstraint("(state = 'running') = (lease_until IS NOT NULL)", name="running_has_a_lease"),
        CheckConstraint(
            "state NOT IN ('running', 'done') OR (model_digest IS NOT NULL AND lease_no > 0)",
            name="worked_on_with_one_model",
        ),
        CheckConstraint("(state = 'done') = (finished_at IS NOT NULL)", name="done_has_time"),
        CheckConstraint("NOT rescoring OR wanted_model IS NOT NULL", name="rescored_by_a_named_model"),
        Index(
            "uq_chunks_rescored_once",
            "pack_id",
            "wanted_model",
            unique=True,
            postgresql_where=text("rescoring AND state IN ('ready', 'running')"),
        ),
        Index("ix_chunks_ready", "queue", "id", postgresql_where=text("state = 'ready'")),
        Index("ix_chunks_running", "lease_until", postgresql_where=text("state = 'running'")),
        Index("ix_chunks_batch_id_state", "batch_id", "state"),
    )

    id: Mapped[Id]
    department_id: Mapped[DepartmentId]
    batch_id: Mapped[UUID] = mapped_column(ForeignKey("batches.id"))
    pack_id: Mapped[UUID] = mapped_column(ForeignKey("packs.id"), index=True)
    queue: Mapped[Queue] = mapped_column(one_of(Queue))
    state: Mapped[ChunkState] = mapped_column(one_of(ChunkState))
    lease_no: Mapped[int] = mapped_column(server_default="0")
    """Raised by every claim and by cancelling: whoever holds an older number may record nothing."""
    lease_until: Mapped[datetime | None]
    claimed_by: Mapped[str | None]
    not_before: Mapped[datetime | None]
    """Back-off after a lapse."""
    lapses: Mapped[int] = mapped_column(server_default="0")
    isolated: Mapped[bool] = mapped_column(server_default=sa.false())
    """Its lease lapsed once: runs next image by image in quarantine."""
    late_writes: Mapped[int] = mapped_column(server_default="0")
    """Attempts of former holders to record; each changed nothing else."""
    model_digest: Mapped[Digest | None] = mapped_column(ForeignKey("models.digest"))
    wanted_model: Mapped[Digest | None] = mapped_column(ForeignKey("models.digest"))
    """Whom the claim pins; None takes the model that is active then."""
    rescoring: Mapped[bool] = mapped_column(server_default=sa.false())
    """Shows images that have their outcome to another model. It adds predictions and changes no outcome."""
    created_at: Mapped[CreatedAt]
    finished_at: Mapped[datetime | None]


class Image(Base):
    """One received file and its one outcome."""

    __tablename__ = "images"
    __table_args__ = (
        UniqueConstraint("batch_id", "ordinal"),
        CheckConstraint(
            "(state IN ('classified', 'unassessable')) = (prediction_id IS NOT NULL)",
            name="predicted_has_a_prediction",
        ),
        CheckConstraint(
            "(state IN ('rejected', 'failed')) = (reason_code IS NOT NULL)"
            " AND (reason_code IS NULL) = (reason IS NULL)",
            name="refused_has_a_reason",
        ),
        CheckConstraint(
            "(pack_id IS NULL) = (chunk_id IS NULL)"
            " AND (pack_id IS NULL) = (pack_offset IS NULL)"
            " AND (pack_id IS NULL) = (pack_length IS NULL)"
            " AND (state = 'rejected' OR pack_id IS NOT NULL)",
            name="never_a_row_without_its_bytes",
        ),
        CheckConstraint("pack_id IS NULL OR sha256 IS NOT NULL", name="stored_has_a_digest"),
        CheckConstraint("age BETWEEN 0 AND 130", name="age_in_years"),
        CheckConstraint("orientation BETWEEN 1 AND 8", name="orientation_is_exif"),
        CheckConstraint("stops BETWEEN 0 AND 3", name="stops_at_most_three_times"),
        Index(
            "uq_images_no_duplicates",
            "batch_id",
            "sha256",
            unique=True,
            postgresql_where=text("pack_id IS NOT NULL"),
        ),
        Index("ix_images_batch_id_state", "batch_id", "state"),
        Index("ix_images_content", "department_id", "sha256", postgresql_where=text("pack_id IS NOT NULL")),
    )

    id: Mapped[Id]
    department_id: Mapped[DepartmentId]
    batch_id: Mapped[UUID] = mapped_column(ForeignKey("batches.id"))
    ordinal: Mapped[int]
    """Place in the upload, from 0."""
    state: Mapped[ImageState] = mapped_column(one_of(ImageState))
    reason_code: Mapped[str | None]
    reason: Mapped[str | None]
    """For a nurse; holds no file name."""
    file_name_sealed: Mapped[bytes]
    subject_id: Mapped[UUID | None] = mapped_column(ForeignKey("subjects.id"), index=True)
    lesion_id: Mapped[UUID | None] = mapped_column(ForeignKey("lesions.id"), index=True)
    age: Mapped[int | None]
    sex: Mapped[str | None]
    localization: Mapped[str | None]
    format: Mapped[str | None]
    width: Mapped[int | None]
    height: Mapped[int | None]
    orientation: Mapped[int] = mapped_column(server_default="1")
    """EXIF orientation 1 to 8, kept here because the metadata is stripped from the bytes."""
    sha256: Mapped[Digest | None]
    """Of the file as it came: duplicates are found by it."""
    pack_id: Mapped[UUID | None] = mapped_column(ForeignKey("packs.id"), index=True)
    pack_offset: Mapped[int | None] = mapped_column(sa.BigInteger)
    pack_length: Mapped[int | None]
    chunk_id: Mapped[UUID | None] = mapped_column(ForeignKey("chunks.id"), index=True)
    stops: Mapped[int] = mapped_column(server_default="0")
    """How often it stopped its quarantine process."""
    prediction_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("predictions.id", use_alter=True, deferrable=True, initially="DEFERRED"), unique=True
    )
    created_at: Mapped[CreatedAt]

    prediction: Mapped["Prediction | None"] = relationship(foreign_keys=[prediction_id])
    batch: Mapped[Batch] = relationship()
    subject: Mapped[Subject | None] = relationship()
    lesion: Mapped[Lesion | None] = relationship()


class Prediction(Base):
    """What one model said of one image."""

    __tablename__ = "predictions"
    __table_args__ = (
        UniqueConstraint("image_id", "model_digest", "preprocessing_version"),
        CheckConstraint(_PER_CLASS.format("probabilities"), name="probability_per_class"),
        CheckConstraint(_PER_CLASS.format("scores"), name="score_per_class"),
        CheckConstraint("malignant_probability BETWEEN 0 AND 1.000001", name="malignant_is_a_probability"),
        CheckConstraint("cardinality(conformal_set) >= 1", name="conformal_set_is_not_empty"),
        CheckConstraint("fields_used <@ ARRAY['age', 'sex', 'localization']", name="fields_are_known_ones"),
    )

    id: Mapped[Id]
    department_id: Mapped[DepartmentId]
    image_id: Mapped[UUID] = mapped_column(ForeignKey("images.id"))
    chunk_id: Mapped[UUID] = mapped_column(ForeignKey("chunks.id"), index=True)
    model_digest: Mapped[Digest] = mapped_column(ForeignKey("models.digest"), index=True)
    preprocessing_version: Mapped[str]
    engine: Mapped[str]
    scores: Mapped[list[float]] = mapped_column(ARRAY(sa.Double))
    """Decision scores for a balanced prior, in the order of `taxonomy.CLASSES`; their argmax is the class."""
    probabilities: Mapped[list[float]] = mapped_column(ARRAY(sa.Double))
    """Calibrated to the manifest's natural prior, in the order of `taxonomy.CLASSES`."""
    predicted_class: Mapped[str]
    malignant_probability: Mapped[float] = mapped_column(sa.Double)
    conformal_set: Mapped[list[str]] = mapped_column(ARRAY(sa.Text))
    triage: Mapped[Triage] = mapped_column(one_of(Triage))
    triage_reason: Mapped[str]
    quality: Mapped[dict[str, Any]] = mapped_column(JSONB)
    """`flags`, and the measurements behind them (`dermabatch.imaging.quality`)."""
    fields_used: Mapped[list[str]] = mapped_column(ARRAY(sa.Text), server_default="{}")
    """What went into it besides the picture, by `dermabatch.clinical.Field`: names, never what they say."""
    derived_key: Mapped[str]
    derived_index: Mapped[int]
    """Where the thumbnail and the saliency grids lie: this entry of that object."""
    created_at: Mapped[CreatedAt]

    model: Mapped[Model] = relationship()
