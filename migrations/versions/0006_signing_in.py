"""Sessions as rows, known devices, second factors, and counts of wrong guesses. Cookies of before end here."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

# What lets somebody in may go without a trace here: what happened stands in the audit trail.
_TABLES = ("web_sessions", "known_devices", "second_factors", "recovery_codes", "guess_counters")


def _moment(name: str) -> sa.Column[sa.DateTime]:
    return sa.Column(
        name, sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
    )


def _user(table: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_user_id_users")
    return sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=name, ondelete="CASCADE")


def upgrade() -> None:
    op.create_table(
        "web_sessions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("browser", sa.Text(), nullable=False),
        _moment("created_at"),
        _moment("seen_at"),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("length(token_hash) = 32", name=op.f("ck_web_sessions_token_is_hashed")),
        _user("web_sessions"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_web_sessions")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_web_sessions_token_hash")),
    )
    op.create_index(op.f("ix_web_sessions_user_id"), "web_sessions", ["user_id"])
    op.create_index(op.f("ix_web_sessions_ends_at"), "web_sessions", ["ends_at"])
    op.create_table(
        "known_devices",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        _moment("last_used_at"),
        sa.CheckConstraint("length(token_hash) = 32", name=op.f("ck_known_devices_token_is_hashed")),
        _user("known_devices"),
        sa.PrimaryKeyConstraint("user_id", "token_hash", name=op.f("pk_known_devices")),
    )
    op.create_table(
        "second_factors",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("wrapped_secret", sa.LargeBinary(), nullable=False),
        _moment("prepared_at"),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_step", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "confirmed_at IS NOT NULL OR last_step = 0", name=op.f("ck_second_factors_unconfirmed_is_unused")
        ),
        _user("second_factors"),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_second_factors")),
    )
    op.create_table(
        "recovery_codes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("length(code_hash) = 32", name=op.f("ck_recovery_codes_code_is_hashed")),
        _user("recovery_codes"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recovery_codes")),
        sa.UniqueConstraint("code_hash", name=op.f("uq_recovery_codes_code_hash")),
    )
    op.create_index(op.f("ix_recovery_codes_user_id"), "recovery_codes", ["user_id"])
    op.create_table(
        "guess_counters",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("account", sa.LargeBinary(), nullable=True),
        sa.Column("level", sa.Double(), server_default="0", nullable=False),
        _moment("counted_at"),
        _moment("forgotten_at"),
        sa.CheckConstraint("level >= 0", name=op.f("ck_guess_counters_level_counts")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_guess_counters")),
    )
    op.create_index(op.f("ix_guess_counters_account"), "guess_counters", ["account"])
    op.create_index(op.f("ix_guess_counters_forgotten_at"), "guess_counters", ["forgotten_at"])
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join(_TABLES)} TO dermabatch_web")
    op.drop_column("users", "fs_uniquifier")


def downgrade() -> None:
    op.add_column(
        "users",
        sa.Column(
            "fs_uniquifier", sa.Text(), server_default=sa.text("gen_random_uuid()::text"), nullable=False
        ),
    )
    op.create_unique_constraint(op.f("uq_users_fs_uniquifier"), "users", ["fs_uniquifier"])
    for table in reversed(_TABLES):
        op.drop_table(table)
