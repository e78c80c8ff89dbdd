"""The audit trail: three tables, the one way in, and triggers that stop everybody else.

The grants are the first wall, forced row-level security the second, triggers the third: they stop even the owner of
the tables until he takes them down, and what he does then the signed checkpoints show.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_TABLES = ("audit_pending", "audit_events", "audit_checkpoints")

_APPEND = """
    CREATE FUNCTION append_audit(
        action text, outcome text, actor_id uuid, actor_kind text, source text, request_id text,
        department_id uuid, object_type text, object_id text, details text
    ) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
        INSERT INTO public.audit_pending (
            action, outcome, actor_id, actor_kind, source, request_id, department_id, object_type, object_id, details
        ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
    $$
"""

# `late` counts what a snapshot taken some seconds ago could already see and what waits nevertheless. The age of an
# event says nothing: its transaction may have been long.
_BACKLOG = """
    CREATE FUNCTION audit_backlog(seen pg_snapshot, OUT waiting bigint, OUT late bigint, OUT now_seen pg_snapshot)
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
        SELECT
            count(*),
            count(*) FILTER (WHERE pg_visible_in_snapshot(transaction::text::xid8, seen)),
            pg_current_snapshot()
        FROM public.audit_pending
    $$
"""

_REFUSE = """
    CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
            USING ERRCODE = 'insufficient_privilege';
    END $$
"""

_DEMAND_ORDER = """
    CREATE FUNCTION demand_audit_order() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        first bigint; last bigint; inserted bigint;
    BEGIN
        SELECT min(seq), max(seq), count(*) INTO first, last, inserted FROM new_events;
        IF inserted > 0 AND (
            last - first + 1 <> inserted
            OR last <> (SELECT max(seq) FROM public.audit_events)
            OR first <> 1 + coalesce((SELECT max(seq) FROM public.audit_events WHERE seq < first), 0)
        ) THEN
            RAISE EXCEPTION 'audit_events grows only at its end and without gaps: % to % refused', first, last
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NULL;
    END $$
"""


def _event_columns() -> list[sa.Column]:
    return [
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("actor_kind", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("department_id", sa.Uuid(), nullable=True),
        sa.Column("object_type", sa.Text(), nullable=True),
        sa.Column("object_id", sa.Text(), nullable=True),
        sa.Column("details", sa.Text(), nullable=False),
    ]


def _event_checks(table: str) -> list[sa.CheckConstraint]:
    return [
        sa.CheckConstraint("outcome IN ('success', 'refused', 'failed')", name=op.f(f"ck_{table}_outcome")),
        sa.CheckConstraint(
            "actor_kind IN ('person', 'service', 'anonymous')", name=op.f(f"ck_{table}_actor_kind")
        ),
        sa.CheckConstraint("details IS JSON OBJECT", name=op.f(f"ck_{table}_details_is_json")),
    ]


def _create_tables() -> None:
    op.create_table(
        "audit_pending",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column(
            "transaction",
            sa.BigInteger(),
            server_default=sa.text("((pg_current_xact_id())::text)::bigint"),
            nullable=False,
        ),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        *_event_columns(),
        *_event_checks("audit_pending"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_pending")),
    )
    op.create_table(
        "audit_events",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        *_event_columns(),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        *_event_checks("audit_events"),
        sa.CheckConstraint("seq > 0", name=op.f("ck_audit_events_seq_from_one")),
        sa.CheckConstraint("length(hash) = 32", name=op.f("ck_audit_events_hash_is_sha256")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_events")),
    )
    op.create_index("ix_audit_events_actor", "audit_events", ["actor_id", "seq"])
    op.create_index("ix_audit_events_action", "audit_events", ["action", "seq"])
    op.create_index("ix_audit_events_object", "audit_events", ["object_id", "seq"])
    op.create_index("ix_audit_events_department", "audit_events", ["department_id", "seq"])
    op.create_index("ix_audit_events_recorded_at", "audit_events", ["recorded_at"], postgresql_using="brin")
    op.create_table(
        "audit_checkpoints",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("signed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_checkpoints")),
    )


def _grant() -> None:
    op.execute("REVOKE ALL ON FUNCTION append_audit, audit_backlog FROM PUBLIC")
    op.execute(
        "GRANT EXECUTE ON FUNCTION append_audit, audit_backlog"
        " TO dermabatch_web, dermabatch_worker, dermabatch_chainer"
    )
    op.execute("GRANT SELECT ON audit_events, audit_checkpoints TO dermabatch_web, dermabatch_worker")
    op.execute("GRANT SELECT, DELETE ON audit_pending TO dermabatch_chainer")
    op.execute("GRANT SELECT, INSERT ON audit_events, audit_checkpoints TO dermabatch_chainer")


def _secure_rows() -> None:
    for table in _TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    # The two functions run as the owner, whom forced row-level security binds like everybody.
    op.execute("CREATE POLICY append_audit ON audit_pending FOR INSERT TO dermabatch_owner WITH CHECK (true)")
    op.execute("CREATE POLICY audit_backlog ON audit_pending FOR SELECT TO dermabatch_owner USING (true)")
    op.execute("CREATE POLICY chaining ON audit_pending TO dermabatch_chainer USING (true)")
    op.execute("CREATE POLICY chaining ON audit_events TO dermabatch_chainer USING (true) WITH CHECK (true)")
    op.execute(
        "CREATE POLICY signing ON audit_checkpoints TO dermabatch_chainer USING (true) WITH CHECK (true)"
    )
    # Sub-selects, so that a settings look-up costs once a query and not once a row.
    op.execute("""
        CREATE POLICY own_department_or_auditor ON audit_events FOR SELECT TO dermabatch_web USING (
            department_id = (SELECT current_department())
            OR (SELECT current_setting('dermabatch.auditor', true)) = 'on'
        )
    """)
    op.execute(
        "CREATE POLICY every_department ON audit_events"
        " FOR SELECT TO dermabatch_worker, dermabatch_owner USING (true)"
    )
    op.execute("CREATE POLICY no_secret ON audit_checkpoints FOR SELECT USING (true)")


def _create_triggers() -> None:
    op.execute("""
        CREATE TRIGGER append_only BEFORE UPDATE OR TRUNCATE ON audit_pending
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()
    """)
    for table in ("audit_events", "audit_checkpoints"):
        op.execute(f"""
            CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()
        """)
    op.execute("""
        CREATE TRIGGER in_order AFTER INSERT ON audit_events REFERENCING NEW TABLE AS new_events
        FOR EACH STATEMENT EXECUTE FUNCTION demand_audit_order()
    """)
    # ALWAYS: a session that calls itself a replica passes plain triggers by.
    for table in _TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER append_only")
    op.execute("ALTER TABLE audit_events ENABLE ALWAYS TRIGGER in_order")


def upgrade() -> None:
    _create_tables()
    for function in (_APPEND, _BACKLOG, _REFUSE, _DEMAND_ORDER):
        op.execute(function)
    _grant()
    _secure_rows()
    _create_triggers()


def downgrade() -> None:
    op.execute("DROP FUNCTION append_audit, audit_backlog")
    for table in reversed(_TABLES):
        op.drop_table(table)
    op.execute("DROP FUNCTION refuse_audit_change, demand_audit_order")
