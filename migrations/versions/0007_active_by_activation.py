"""No model becomes active without an activation that says who let it serve, whoever writes to the table.

The portal's role may change what a model may do and how it was judged, and nothing of what was published.
"""

from alembic import op

revision = "0007"
down_revision = "0006"

_DEMAND_ACTIVATION = """
    CREATE FUNCTION demand_activation() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
    BEGIN
        IF NEW.digest IS DISTINCT FROM (SELECT model_digest FROM activations ORDER BY id DESC LIMIT 1) THEN
            RAISE EXCEPTION 'model % became active without an activation', NEW.digest
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NULL;
    END $$
"""


def upgrade() -> None:
    op.execute(_DEMAND_ACTIVATION)
    # At the end of the transaction: the activation is written after the model, to which it refers.
    op.execute("""
        CREATE CONSTRAINT TRIGGER active_by_activation AFTER INSERT OR UPDATE ON models
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.state = 'active')
        EXECUTE FUNCTION demand_activation()
    """)
    # ALWAYS: a session that calls itself a replica passes plain triggers by.
    op.execute("ALTER TABLE models ENABLE ALWAYS TRIGGER active_by_activation")
    op.execute("REVOKE UPDATE ON models FROM dermabatch_web")
    op.execute("GRANT UPDATE (state, gate) ON models TO dermabatch_web")


def downgrade() -> None:
    op.execute("REVOKE UPDATE (state, gate) ON models FROM dermabatch_web")
    op.execute("GRANT UPDATE ON models TO dermabatch_web")
    op.execute("DROP TRIGGER active_by_activation ON models")
    op.execute("DROP FUNCTION demand_activation")
