"""Which fields beside the picture went into a prediction: their names, never what they say."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column(
        "predictions",
        sa.Column("fields_used", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
    )
    op.create_check_constraint(
        op.f("ck_predictions_fields_are_known_ones"),
        "predictions",
        "fields_used <@ ARRAY['age', 'sex', 'localization']",
    )


def downgrade() -> None:
    op.drop_constraint(op.f("ck_predictions_fields_are_known_ones"), "predictions")
    op.drop_column("predictions", "fields_used")
