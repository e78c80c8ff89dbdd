"""The result of the gate beside each model, the days on which jobs ran, and a role for the training job.

The training job publishes and never activates: row-level security keeps its role to candidates and rejected models.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"

# Of a user it reads who they are: no password, no department.
_GRANTS_OF_THE_TRAINER = (
    "USAGE ON SCHEMA public",
    "SELECT, INSERT, UPDATE (state, gate) ON models",
    "SELECT (id, email, service, active) ON users",
    "SELECT, INSERT, UPDATE ON scheduled_runs",
    "EXECUTE ON FUNCTION append_audit",
)


def _keep_the_trainer_from_activating() -> None:
    op.execute("ALTER TABLE models ENABLE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY every_model ON models TO dermabatch_web, dermabatch_worker USING (true) WITH CHECK (true)"
    )
    op.execute("CREATE POLICY no_secret ON models FOR SELECT TO dermabatch_trainer USING (true)")
    unserved = "state IN ('candidate', 'rejected')"
    op.execute(f"CREATE POLICY publishes ON models FOR INSERT TO dermabatch_trainer WITH CHECK ({unserved})")
    op.execute(
        "CREATE POLICY judges ON models FOR UPDATE TO dermabatch_trainer"
        f" USING ({unserved}) WITH CHECK ({unserved})"
    )


def upgrade() -> None:
    op.add_column("models", sa.Column("gate", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.create_check_constraint(
        op.f("ck_models_rejected_by_its_gate"),
        "models",
        "(state = 'rejected') = (gate IS NOT NULL AND NOT (gate ->> 'passed')::boolean)",
    )
    op.create_table(
        "scheduled_runs",
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("starts", sa.Integer(), server_default="1", nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "(ended_at IS NULL) = (exit_code IS NULL)", name=op.f("ck_scheduled_runs_ended_with_a_code")
        ),
        sa.PrimaryKeyConstraint("job", "day", name=op.f("pk_scheduled_runs")),
    )
    for grant in _GRANTS_OF_THE_TRAINER:
        op.execute(f"GRANT {grant} TO dermabatch_trainer")
    op.execute("GRANT SELECT ON scheduled_runs TO dermabatch_web, dermabatch_worker")
    _keep_the_trainer_from_activating()


def downgrade() -> None:
    for policy in ("every_model", "no_secret", "publishes", "judges"):
        op.execute(f"DROP POLICY {policy} ON models")
    op.execute("ALTER TABLE models DISABLE ROW LEVEL SECURITY")
    for grant in _GRANTS_OF_THE_TRAINER:
        op.execute(f"REVOKE {grant} FROM dermabatch_trainer")
    op.drop_table("scheduled_runs")
    op.drop_constraint(op.f("ck_models_rejected_by_its_gate"), "models")
    op.drop_column("models", "gate")
