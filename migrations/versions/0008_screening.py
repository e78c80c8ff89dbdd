"""Screening: its runs, the files of their sources, alerts; chunks that want a certain model or look at images again."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"

_DEPARTMENTAL = ("screening_runs", "screening_uploads", "screened_files", "rescorings")


def _moment(name: str, *, now: bool = False) -> sa.Column[sa.DateTime]:
    default = sa.text("clock_timestamp()") if now else None
    return sa.Column(name, sa.DateTime(timezone=True), server_default=default, nullable=not now)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), server_default="0", nullable=False)


def _one_of(name: str, column: str, *values: str, nullable: bool = False) -> sa.Column[str]:
    kind = sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=16)
    return sa.Column(column, kind, nullable=nullable)


def _key(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    referred, _, name = target.partition(".")
    return sa.ForeignKeyConstraint(
        [column], [f"{referred}.{name}"], name=op.f(f"fk_{table}_{column}_{referred}")
    )


def _department(table: str) -> sa.ForeignKeyConstraint:
    return _key(table, "department_id", "departments.id")


def _let_chunks_want_a_model() -> None:
    op.add_column("chunks", sa.Column("wanted_model", sa.String(length=64), nullable=True))
    op.add_column(
        "chunks", sa.Column("rescoring", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.create_foreign_key(
        op.f("fk_chunks_wanted_model_models"), "chunks", "models", ["wanted_model"], ["digest"]
    )
    op.create_check_constraint(
        op.f("ck_chunks_rescored_by_a_named_model"), "chunks", "NOT rescoring OR wanted_model IS NOT NULL"
    )
    op.create_index(
        "uq_chunks_rescored_once",
        "chunks",
        ["pack_id", "wanted_model"],
        unique=True,
        postgresql_where=sa.text("rescoring AND state IN ('ready', 'running')"),
    )


def _create_runs() -> None:
    op.create_table(
        "screening_runs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("department_id", sa.Uuid(), nullable=False),
        sa.Column("started_by", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("night", sa.Date(), nullable=True),
        _one_of("sourcekind", "source", "folder", "s3", "dicomweb", "stored"),
        sa.Column("source_hash", sa.LargeBinary(), nullable=False),
        sa.Column("model_digest", sa.String(length=64), nullable=False),
        sa.Column("pinned", sa.Boolean(), nullable=False),
        _one_of("screeningstate", "state", "listing", "classifying", "completed", "stopped"),
        sa.Column("starts", sa.Integer(), server_default="1", nullable=False),
        _moment("deadline"),
        sa.Column("image_budget", sa.Integer(), nullable=True),
        _one_of("cutshort", "cut_short", "budget", "deadline", nullable=True),
        sa.Column("stopped_by", sa.Text(), nullable=True),
        *(_count(name) for name in ("known", "handled")),
        *(_count(name) for name in ("skipped", "taken_in", "rescored", "refused", "unreadable")),
        sa.Column("reasons", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        _moment("started_at", now=True),
        _moment("progress_at", now=True),
        _moment("listed_at"),
        _moment("completed_at"),
        sa.CheckConstraint(
            "(name IS NULL) = (night IS NULL)", name=op.f("ck_screening_runs_scheduled_has_name_and_night")
        ),
        sa.CheckConstraint(
            "(state = 'stopped') = (stopped_by IS NOT NULL)",
            name=op.f("ck_screening_runs_stopped_says_by_what"),
        ),
        sa.CheckConstraint(
            "(state = 'completed') = (completed_at IS NOT NULL)",
            name=op.f("ck_screening_runs_completed_has_time"),
        ),
        sa.CheckConstraint(
            "state NOT IN ('classifying', 'completed') OR handled = skipped + taken_in + rescored + refused + unreadable",
            name=op.f("ck_screening_runs_adds_up"),
        ),
        sa.CheckConstraint("image_budget > 0", name=op.f("ck_screening_runs_budget_counts")),
        _department("screening_runs"),
        _key("screening_runs", "started_by", "users.id"),
        _key("screening_runs", "model_digest", "models.digest"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_screening_runs")),
        sa.UniqueConstraint("name", "night", name=op.f("uq_screening_runs_name_night")),
    )
    op.create_index(op.f("ix_screening_runs_department_id"), "screening_runs", ["department_id"])
    op.create_index(
        "uq_screening_runs_unfinished",
        "screening_runs",
        ["department_id", "source_hash"],
        unique=True,
        postgresql_where=sa.text("name IS NULL AND state <> 'completed'"),
    )


def _create_what_runs_do() -> None:
    op.create_table(
        "screening_uploads",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("department_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("settled", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        _moment("created_at", now=True),
        _department("screening_uploads"),
        _key("screening_uploads", "run_id", "screening_runs.id"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_screening_uploads")),
    )
    op.create_index(op.f("ix_screening_uploads_run_id"), "screening_uploads", ["run_id"])
    op.create_index(op.f("ix_screening_uploads_department_id"), "screening_uploads", ["department_id"])
    op.create_table(
        "screened_files",
        sa.Column("department_id", sa.Uuid(), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        _one_of(
            *("screenedstate", "state"),
            *("listed", "taken_in", "skipped", "rescored", "refused", "unreadable"),
        ),
        sa.Column("reason_code", sa.Text(), nullable=True),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("upload_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "(state IN ('refused', 'unreadable')) = (reason_code IS NOT NULL)",
            name=op.f("ck_screened_files_refused_has_a_reason"),
        ),
        sa.CheckConstraint(
            "state NOT IN ('taken_in', 'rescored') OR sha256 IS NOT NULL",
            name=op.f("ck_screened_files_taken_in_has_a_digest"),
        ),
        _department("screened_files"),
        _key("screened_files", "run_id", "screening_runs.id"),
        _key("screened_files", "upload_id", "screening_uploads.id"),
        sa.PrimaryKeyConstraint("department_id", "key_hash", name=op.f("pk_screened_files")),
    )
    op.create_index("ix_screened_files_run_id_state", "screened_files", ["run_id", "state"])
    op.create_index(op.f("ix_screened_files_upload_id"), "screened_files", ["upload_id"])
    op.create_table(
        "rescorings",
        sa.Column("chunk_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("department_id", sa.Uuid(), nullable=False),
        _key("rescorings", "chunk_id", "chunks.id"),
        _key("rescorings", "run_id", "screening_runs.id"),
        _department("rescorings"),
        sa.PrimaryKeyConstraint("chunk_id", name=op.f("pk_rescorings")),
    )
    op.create_index(op.f("ix_rescorings_run_id"), "rescorings", ["run_id"])
    op.create_index(op.f("ix_rescorings_department_id"), "rescorings", ["department_id"])


def _create_alerts() -> None:
    op.create_table(
        "screening_alerts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("night", sa.Date(), nullable=False),
        _one_of("alertkind", "kind", "not_started", "stopped", "stalled", "late"),
        sa.Column("message", sa.Text(), nullable=False),
        _moment("raised_at", now=True),
        _moment("tried_at"),
        _moment("delivered_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_screening_alerts")),
        sa.UniqueConstraint("name", "night", "kind", name=op.f("uq_screening_alerts_name_night_kind")),
    )


def _keep_departments_apart() -> None:
    """As in 0001."""
    for table in _DEPARTMENTAL:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
        op.execute(f"""
            CREATE POLICY own_department ON {table} TO dermabatch_web
            USING (department_id = current_department()) WITH CHECK (department_id = current_department())
        """)
        # The scheduler watches the runs of every department and changes none.
        op.execute(f"CREATE POLICY every_department ON {table} FOR SELECT TO dermabatch_worker USING (true)")


def _grant() -> None:
    departmental = ", ".join(_DEPARTMENTAL)
    op.execute(f"GRANT SELECT, INSERT, UPDATE ON {departmental} TO dermabatch_web")
    op.execute(f"GRANT SELECT ON {departmental} TO dermabatch_worker")
    op.execute("GRANT SELECT ON screening_alerts TO dermabatch_web")
    op.execute("GRANT SELECT, INSERT, UPDATE ON screening_alerts TO dermabatch_worker")


def upgrade() -> None:
    _let_chunks_want_a_model()
    op.create_index(
        "ix_images_content",
        "images",
        ["department_id", "sha256"],
        postgresql_where=sa.text("pack_id IS NOT NULL"),
    )
    _create_runs()
    _create_what_runs_do()
    _create_alerts()
    _keep_departments_apart()
    _grant()


def downgrade() -> None:
    for table in ("screening_alerts", "rescorings", "screened_files", "screening_uploads", "screening_runs"):
        op.drop_table(table)
    op.drop_index("ix_images_content", "images")
    op.drop_index("uq_chunks_rescored_once", "chunks")
    op.drop_constraint(op.f("ck_chunks_rescored_by_a_named_model"), "chunks")
    op.drop_column("chunks", "rescoring")
    op.drop_column("chunks", "wanted_model")
