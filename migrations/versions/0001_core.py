"""The core tables, who may touch them, and how departments are kept apart."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

_DEPARTMENTAL = ("subjects", "lesions", "batches", "packs", "chunks", "images", "predictions")

# What each program may do, and no more. Nothing is ever deleted by a program; erasure empties columns.
_GRANTS = {
    "dermabatch_web": {
        "SELECT": (
            *_DEPARTMENTAL,
            "departments",
            "roles",
            "users",
            "users_roles",
            "api_tokens",
            "models",
            "activations",
        ),
        "INSERT": (
            *("departments", "users", "users_roles", "api_tokens", "models", "activations"),
            *("subjects", "lesions", "batches", "packs", "chunks", "images"),
        ),
        "UPDATE": (
            *("users", "api_tokens", "models"),
            *("subjects", "batches", "packs", "chunks", "images"),
        ),
        "DELETE": ("users_roles",),
    },
    "dermabatch_worker": {
        "SELECT": (*_DEPARTMENTAL, "departments", "roles", "users", "users_roles", "models", "activations"),
        "INSERT": ("predictions",),
        "UPDATE": ("batches", "packs", "chunks", "images"),
    },
}

_SEED_ROLES = """
    INSERT INTO roles (id, name, description) VALUES
    (gen_random_uuid(), 'staff', 'Submits batches and reads their results'),
    (gen_random_uuid(), 'administrator', 'Reads the audit trail, manages users and activates models')
"""


def _keep_departments_apart() -> None:
    """Forced, so that not even the owner of the tables sees a row by accident. No department set, nothing seen."""
    op.execute("""
        CREATE FUNCTION current_department() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
        RETURN nullif(current_setting('dermabatch.department', true), '')::uuid
    """)
    for table in _DEPARTMENTAL:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
        op.execute(f"""
            CREATE POLICY own_department ON {table} TO dermabatch_web
            USING (department_id = current_department()) WITH CHECK (department_id = current_department())
        """)
        # Workers serve every department and have no way to be asked by a person.
        op.execute(
            f"CREATE POLICY every_department ON {table} TO dermabatch_worker USING (true) WITH CHECK (true)"
        )


def _grant() -> None:
    op.execute("GRANT USAGE ON SCHEMA public TO dermabatch_web, dermabatch_worker, dermabatch_chainer")
    for role, privileges in _GRANTS.items():
        for privilege, tables in privileges.items():
            op.execute(f"GRANT {privilege} ON {', '.join(tables)} TO {role}")


def upgrade() -> None:
    op.create_table(
        "departments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_departments")),
        sa.UniqueConstraint("name", name=op.f("uq_departments_name")),
    )
    op.create_table(
        "roles",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_roles")),
        sa.UniqueConstraint("name", name=op.f("uq_roles_name")),
    )
    op.create_table(
        "subjects",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("department_id", sa.Uuid(), nullable=False),
        sa.Column("lookup_hash", sa.LargeBinary(), nullable=True),
        sa.Column("patient_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(erased_at IS NULL) = (wrapped_key IS NOT NULL) AND (erased_at IS NULL) = (lookup_hash IS NOT NULL) AND (erased_at IS NULL) = (patient_sealed IS NOT NULL)",
            name=op.f("ck_subjects_erased_means_unreadable"),
        ),
        sa.ForeignKeyConstraint(
            ["department_id"], ["departments.id"], name=op.f("fk_subjects_department_id_departments")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subjects")),
        sa.UniqueConstraint(
            "department_id", "lookup_hash", name=op.f("uq_subjects_department_id_lookup_hash")
        ),
    )
    op.create_index(op.f("ix_subjects_department_id"), "subjects", ["department_id"], unique=False)
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("department_id", sa.Uuid(), nullable=False),
        sa.Column("service", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("password", sa.Text(), nullable=True),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("fs_uniquifier", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("last_login_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("current_login_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("NOT service OR password IS NULL", name=op.f("ck_users_service_has_no_password")),
        sa.CheckConstraint("email = lower(email)", name=op.f("ck_users_email_lower")),
        sa.ForeignKeyConstraint(
            ["department_id"], ["departments.id"], name=op.f("fk_users_department_id_departments")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
        sa.UniqueConstraint("fs_uniquifier", name=op.f("uq_users_fs_uniquifier")),
    )
    op.create_index(op.f("ix_users_department_id"), "users", ["department_id"], unique=False)
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_api_tokens_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_tokens")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_api_tokens_token_hash")),
    )
    op.create_index(op.f("ix_api_tokens_user_id"), "api_tokens", ["user_id"], unique=False)
    op.create_table(
        "batches",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("department_id", sa.Uuid(), nullable=False),
        sa.Column("submitted_by", sa.Uuid(), nullable=False),
        sa.Column(
            "queue",
            sa.Enum(
                "interactive", "bulk", name="queue", native_enum=False, create_constraint=True, length=16
            ),
            nullable=False,
        ),
        sa.Column(
            "state",
            sa.Enum(
                "receiving",
                "accepted",
                "cancelled",
                "abandoned",
                name="batchstate",
                native_enum=False,
                create_constraint=True,
                length=16,
            ),
            nullable=False,
        ),
        sa.Column("received", sa.Integer(), server_default="0", nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "touched_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state = 'cancelled') = (cancelled_at IS NOT NULL)", name=op.f("ck_batches_cancelled_has_time")
        ),
        sa.CheckConstraint(
            "(state IN ('accepted', 'cancelled')) = (accepted_at IS NOT NULL)",
            name=op.f("ck_batches_accepted_has_time"),
        ),
        sa.CheckConstraint(
            "state <> 'accepted' OR received > 0", name=op.f("ck_batches_accepted_is_not_empty")
        ),
        sa.CheckConstraint("received >= 0", name=op.f("ck_batches_received_counts")),
        sa.ForeignKeyConstraint(
            ["department_id"], ["departments.id"], name=op.f("fk_batches_department_id_departments")
        ),
        sa.ForeignKeyConstraint(["submitted_by"], ["users.id"], name=op.f("fk_batches_submitted_by_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
    )
    op.create_index(op.f("ix_batches_department_id"), "batches", ["department_id"], unique=False)
    op.create_index(
        "ix_batches_newest", "batches", ["department_id", sa.literal_column("id DESC")], unique=False
    )
    op.create_index(
        "uq_batches_idempotency",
        "batches",
        ["department_id", "submitted_by", "idempotency_key"],
        unique=True,
        postgresql_where=sa.text("state <> 'abandoned'"),
    )
    op.create_table(
        "lesions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("department_id", sa.Uuid(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("lookup_hash", sa.LargeBinary(), nullable=False),
        sa.Column("label_sealed", sa.LargeBinary(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["department_id"], ["departments.id"], name=op.f("fk_lesions_department_id_departments")
        ),
        sa.ForeignKeyConstraint(["subject_id"], ["subjects.id"], name=op.f("fk_lesions_subject_id_subjects")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lesions")),
        sa.UniqueConstraint(
            "department_id", "lookup_hash", name=op.f("uq_lesions_department_id_lookup_hash")
        ),
    )
    op.create_index(op.f("ix_lesions_department_id"), "lesions", ["department_id"], unique=False)
    op.create_index(op.f("ix_lesions_subject_id"), "lesions", ["subject_id"], unique=False)
    op.create_table(
        "models",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "candidate",
                "active",
                "retired",
                "rejected",
                name="modelstate",
                native_enum=False,
                create_constraint=True,
                length=16,
            ),
            nullable=False,
        ),
        sa.Column("manifest", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("published_by", sa.Uuid(), nullable=False),
        sa.Column(
            "published_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(["published_by"], ["users.id"], name=op.f("fk_models_published_by_users")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_models")),
    )
    op.create_index(
        "uq_models_one_active", "models", ["state"], unique=True, postgresql_where=sa.text("state = 'active'")
    )
    op.create_table(
        "users_roles",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("role_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["role_id"], ["roles.id"], name=op.f("fk_users_roles_role_id_roles")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_users_roles_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "role_id", name=op.f("pk_users_roles")),
    )
    op.create_table(
        "activations",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("model_digest", sa.String(length=64), nullable=False),
        sa.Column("activated_by", sa.Uuid(), nullable=False),
        sa.Column("published_by", sa.Uuid(), nullable=False),
        sa.Column("returned", sa.Boolean(), nullable=False),
        sa.Column(
            "activated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "activated_by <> published_by OR returned", name=op.f("ck_activations_needs_a_second_person")
        ),
        sa.ForeignKeyConstraint(
            ["activated_by"], ["users.id"], name=op.f("fk_activations_activated_by_users")
        ),
        sa.ForeignKeyConstraint(
            ["model_digest"], ["models.digest"], name=op.f("fk_activations_model_digest_models")
        ),
        sa.ForeignKeyConstraint(
            ["published_by"], ["users.id"], name=op.f("fk_activations_published_by_users")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_activations")),
    )
    op.create_index(op.f("ix_activations_model_digest"), "activations", ["model_digest"], unique=False)
    op.create_table(
        "packs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("department_id", sa.Uuid(), nullable=False),
        sa.Column("batch_id", sa.Uuid(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "writing",
                "stored",
                "abandoned",
                name="packstate",
                native_enum=False,
                create_constraint=True,
                length=16,
            ),
            nullable=False,
        ),
        sa.Column("object_key", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("stored_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "deleted_at IS NULL OR state = 'abandoned'", name=op.f("ck_packs_only_abandoned_is_deleted")
        ),
        sa.CheckConstraint(
            "(state = 'stored') = (stored_at IS NOT NULL)", name=op.f("ck_packs_stored_has_time")
        ),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_packs_batch_id_batches")),
        sa.ForeignKeyConstraint(
            ["department_id"], ["departments.id"], name=op.f("fk_packs_department_id_departments")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_packs")),
        sa.UniqueConstraint("batch_id", "ordinal", name=op.f("uq_packs_batch_id_ordinal")),
        sa.UniqueConstraint("object_key", name=op.f("uq_packs_object_key")),
    )
    op.create_index(op.f("ix_packs_department_id"), "packs", ["department_id"], unique=False)
    op.create_index(
        "ix_packs_undeleted",
        "packs",
        ["batch_id"],
        unique=False,
        postgresql_where=sa.text("state = 'abandoned' AND deleted_at IS NULL"),
    )
    op.create_table(
        "chunks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("department_id", sa.Uuid(), nullable=False),
        sa.Column("batch_id", sa.Uuid(), nullable=False),
        sa.Column("pack_id", sa.Uuid(), nullable=False),
        sa.Column(
            "queue",
            sa.Enum(
                "interactive", "bulk", name="queue", native_enum=False, create_constraint=True, length=16
            ),
            nullable=False,
        ),
        sa.Column(
            "state",
            sa.Enum(
                "ready",
                "running",
                "done",
                "cancelled",
                name="chunkstate",
                native_enum=False,
                create_constraint=True,
                length=16,
            ),
            nullable=False,
        ),
        sa.Column("lease_no", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claimed_by", sa.Text(), nullable=True),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lapses", sa.Integer(), server_default="0", nullable=False),
        sa.Column("isolated", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("late_writes", sa.Integer(), server_default="0", nullable=False),
        sa.Column("model_digest", sa.String(length=64), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state = 'done') = (finished_at IS NOT NULL)", name=op.f("ck_chunks_done_has_time")
        ),
        sa.CheckConstraint(
            "(state = 'running') = (lease_until IS NOT NULL)", name=op.f("ck_chunks_running_has_a_lease")
        ),
        sa.CheckConstraint(
            "state NOT IN ('running', 'done') OR (model_digest IS NOT NULL AND lease_no > 0)",
            name=op.f("ck_chunks_worked_on_with_one_model"),
        ),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_chunks_batch_id_batches")),
        sa.ForeignKeyConstraint(
            ["department_id"], ["departments.id"], name=op.f("fk_chunks_department_id_departments")
        ),
        sa.ForeignKeyConstraint(
            ["model_digest"], ["models.digest"], name=op.f("fk_chunks_model_digest_models")
        ),
        sa.ForeignKeyConstraint(["pack_id"], ["packs.id"], name=op.f("fk_chunks_pack_id_packs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chunks")),
    )
    op.create_index("ix_chunks_batch_id_state", "chunks", ["batch_id", "state"], unique=False)
    op.create_index(op.f("ix_chunks_department_id"), "chunks", ["department_id"], unique=False)
    op.create_index(op.f("ix_chunks_pack_id"), "chunks", ["pack_id"], unique=False)
    op.create_index(
        "ix_chunks_ready",
        "chunks",
        ["queue", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'ready'"),
    )
    op.create_index(
        "ix_chunks_running",
        "chunks",
        ["lease_until"],
        unique=False,
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_table(
        "images",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("department_id", sa.Uuid(), nullable=False),
        sa.Column("batch_id", sa.Uuid(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "pending",
                "classified",
                "unassessable",
                "rejected",
                "failed",
                "cancelled",
                name="imagestate",
                native_enum=False,
                create_constraint=True,
                length=16,
            ),
            nullable=False,
        ),
        sa.Column("reason_code", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("file_name_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("lesion_id", sa.Uuid(), nullable=True),
        sa.Column("age", sa.Integer(), nullable=True),
        sa.Column("sex", sa.Text(), nullable=True),
        sa.Column("localization", sa.Text(), nullable=True),
        sa.Column("format", sa.Text(), nullable=True),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("orientation", sa.Integer(), server_default="1", nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("pack_id", sa.Uuid(), nullable=True),
        sa.Column("pack_offset", sa.BigInteger(), nullable=True),
        sa.Column("pack_length", sa.Integer(), nullable=True),
        sa.Column("chunk_id", sa.Uuid(), nullable=True),
        sa.Column("stops", sa.Integer(), server_default="0", nullable=False),
        sa.Column("prediction_id", sa.Uuid(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "(pack_id IS NULL) = (chunk_id IS NULL) AND (pack_id IS NULL) = (pack_offset IS NULL) AND (pack_id IS NULL) = (pack_length IS NULL) AND (state = 'rejected' OR pack_id IS NOT NULL)",
            name=op.f("ck_images_never_a_row_without_its_bytes"),
        ),
        sa.CheckConstraint(
            "(state IN ('classified', 'unassessable')) = (prediction_id IS NOT NULL)",
            name=op.f("ck_images_predicted_has_a_prediction"),
        ),
        sa.CheckConstraint(
            "(state IN ('rejected', 'failed')) = (reason_code IS NOT NULL) AND (reason_code IS NULL) = (reason IS NULL)",
            name=op.f("ck_images_refused_has_a_reason"),
        ),
        sa.CheckConstraint("age BETWEEN 0 AND 130", name=op.f("ck_images_age_in_years")),
        sa.CheckConstraint("orientation BETWEEN 1 AND 8", name=op.f("ck_images_orientation_is_exif")),
        sa.CheckConstraint(
            "pack_id IS NULL OR sha256 IS NOT NULL", name=op.f("ck_images_stored_has_a_digest")
        ),
        sa.CheckConstraint("stops BETWEEN 0 AND 3", name=op.f("ck_images_stops_at_most_three_times")),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_images_batch_id_batches")),
        sa.ForeignKeyConstraint(["chunk_id"], ["chunks.id"], name=op.f("fk_images_chunk_id_chunks")),
        sa.ForeignKeyConstraint(
            ["department_id"], ["departments.id"], name=op.f("fk_images_department_id_departments")
        ),
        sa.ForeignKeyConstraint(["lesion_id"], ["lesions.id"], name=op.f("fk_images_lesion_id_lesions")),
        sa.ForeignKeyConstraint(["pack_id"], ["packs.id"], name=op.f("fk_images_pack_id_packs")),
        sa.ForeignKeyConstraint(["subject_id"], ["subjects.id"], name=op.f("fk_images_subject_id_subjects")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_images")),
        sa.UniqueConstraint("batch_id", "ordinal", name=op.f("uq_images_batch_id_ordinal")),
        sa.UniqueConstraint("prediction_id", name=op.f("uq_images_prediction_id")),
    )
    op.create_index("ix_images_batch_id_state", "images", ["batch_id", "state"], unique=False)
    op.create_index(op.f("ix_images_chunk_id"), "images", ["chunk_id"], unique=False)
    op.create_index(op.f("ix_images_department_id"), "images", ["department_id"], unique=False)
    op.create_index(op.f("ix_images_lesion_id"), "images", ["lesion_id"], unique=False)
    op.create_index(op.f("ix_images_pack_id"), "images", ["pack_id"], unique=False)
    op.create_index(op.f("ix_images_subject_id"), "images", ["subject_id"], unique=False)
    op.create_index(
        "uq_images_no_duplicates",
        "images",
        ["batch_id", "sha256"],
        unique=True,
        postgresql_where=sa.text("pack_id IS NOT NULL"),
    )
    op.create_table(
        "predictions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("department_id", sa.Uuid(), nullable=False),
        sa.Column("image_id", sa.Uuid(), nullable=False),
        sa.Column("chunk_id", sa.Uuid(), nullable=False),
        sa.Column("model_digest", sa.String(length=64), nullable=False),
        sa.Column("preprocessing_version", sa.Text(), nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("scores", postgresql.ARRAY(sa.Double()), nullable=False),
        sa.Column("probabilities", postgresql.ARRAY(sa.Double()), nullable=False),
        sa.Column("predicted_class", sa.Text(), nullable=False),
        sa.Column("malignant_probability", sa.Double(), nullable=False),
        sa.Column("conformal_set", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column(
            "triage",
            sa.Enum(
                "urgent",
                "soon",
                "cannot_assess",
                "not_flagged",
                name="triage",
                native_enum=False,
                create_constraint=True,
                length=16,
            ),
            nullable=False,
        ),
        sa.Column("triage_reason", sa.Text(), nullable=False),
        sa.Column("quality", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("derived_key", sa.Text(), nullable=False),
        sa.Column("derived_index", sa.Integer(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "cardinality(conformal_set) >= 1", name=op.f("ck_predictions_conformal_set_is_not_empty")
        ),
        sa.CheckConstraint(
            "cardinality(probabilities) = 7", name=op.f("ck_predictions_probability_per_class")
        ),
        sa.CheckConstraint("cardinality(scores) = 7", name=op.f("ck_predictions_score_per_class")),
        sa.CheckConstraint(
            "malignant_probability BETWEEN 0 AND 1.000001",
            name=op.f("ck_predictions_malignant_is_a_probability"),
        ),
        sa.ForeignKeyConstraint(["chunk_id"], ["chunks.id"], name=op.f("fk_predictions_chunk_id_chunks")),
        sa.ForeignKeyConstraint(
            ["department_id"], ["departments.id"], name=op.f("fk_predictions_department_id_departments")
        ),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f("fk_predictions_image_id_images")),
        sa.ForeignKeyConstraint(
            ["model_digest"], ["models.digest"], name=op.f("fk_predictions_model_digest_models")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_predictions")),
        sa.UniqueConstraint(
            "image_id",
            "model_digest",
            "preprocessing_version",
            name=op.f("uq_predictions_image_id_model_digest_preprocessing_version"),
        ),
    )
    op.create_index(op.f("ix_predictions_chunk_id"), "predictions", ["chunk_id"], unique=False)
    op.create_index(op.f("ix_predictions_department_id"), "predictions", ["department_id"], unique=False)
    op.create_index(op.f("ix_predictions_model_digest"), "predictions", ["model_digest"], unique=False)

    # Images and predictions name each other.
    op.create_foreign_key(
        op.f("fk_images_prediction_id_predictions"),
        "images",
        "predictions",
        ["prediction_id"],
        ["id"],
        deferrable=True,
        initially="DEFERRED",
    )
    _keep_departments_apart()
    _grant()
    op.execute(_SEED_ROLES)


def downgrade() -> None:
    op.drop_constraint(op.f("fk_images_prediction_id_predictions"), "images", type_="foreignkey")
    op.drop_table("predictions")
    op.drop_table("images")
    op.drop_table("chunks")
    op.drop_table("packs")
    op.drop_table("activations")
    op.drop_table("users_roles")
    op.drop_table("models")
    op.drop_table("lesions")
    op.drop_table("batches")
    op.drop_table("api_tokens")
    op.drop_table("users")
    op.drop_table("subjects")
    op.drop_table("roles")
    op.drop_table("departments")
    op.execute("DROP FUNCTION current_department()")
