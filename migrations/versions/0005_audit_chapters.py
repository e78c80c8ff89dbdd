"""Checkpoints belong to a chapter of the trail; the worker's role may erase a patient again after a restore.

The rows of checkpoints only save reading the storage, so that the table is made anew and filled by the signer.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_ERASED_COLUMNS = "lookup_hash, patient_sealed, wrapped_key, erased_at"


def _make_checkpoints(*identity: sa.Column, signer: tuple[sa.Column, ...] = ()) -> None:
    op.drop_table("audit_checkpoints")
    op.create_table(
        "audit_checkpoints",
        *identity,
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("signed_at", sa.DateTime(timezone=True), nullable=False),
        *signer,
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint(*(column.name for column in identity), name=op.f("pk_audit_checkpoints")),
    )
    op.execute("GRANT SELECT ON audit_checkpoints TO dermabatch_web, dermabatch_worker")
    op.execute("GRANT SELECT, INSERT ON audit_checkpoints TO dermabatch_chainer")
    op.execute("ALTER TABLE audit_checkpoints ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY signing ON audit_checkpoints TO dermabatch_chainer USING (true) WITH CHECK (true)"
    )
    op.execute("CREATE POLICY no_secret ON audit_checkpoints FOR SELECT USING (true)")
    op.execute("""
        CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_checkpoints
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()
    """)
    op.execute("ALTER TABLE audit_checkpoints ENABLE ALWAYS TRIGGER append_only")


def _seq() -> sa.Column:
    return sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False)


def upgrade() -> None:
    _make_checkpoints(sa.Column("chapter", sa.Integer(), autoincrement=False, nullable=False), _seq())
    op.execute(f"GRANT UPDATE ({_ERASED_COLUMNS}) ON subjects TO dermabatch_worker")
    # Restrictive: it goes with the policy that shows the worker every department, and takes away what is too much.
    op.execute(
        "CREATE POLICY erases_only ON subjects AS RESTRICTIVE FOR UPDATE TO dermabatch_worker"
        " USING (true) WITH CHECK (erased_at IS NOT NULL)"
    )


def downgrade() -> None:
    op.execute("DROP POLICY erases_only ON subjects")
    op.execute(f"REVOKE UPDATE ({_ERASED_COLUMNS}) ON subjects FROM dermabatch_worker")
    _make_checkpoints(_seq(), signer=(sa.Column("key_id", sa.Text(), nullable=False),))
