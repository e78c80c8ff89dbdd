"""What the database refuses, whoever asks."""

from itertools import product

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

COLUMNS = "recorded_at, action, outcome, actor_kind, source, details"
VALUES = "clock_timestamp(), 'image.view', 'success', 'service', 'tests', '{}'"
FORGED_CHECKPOINT = "INSERT INTO audit_checkpoints VALUES (1, 31, '', clock_timestamp(), '')"
FORGED_PENDING = f"INSERT INTO audit_pending ({COLUMNS}) VALUES ({VALUES})"

PROGRAMS = ("web", "worker", "chainer", "trainer")
TABLES = ("audit_pending", "audit_events", "audit_checkpoints")
COLUMN_OF = {"audit_pending": "source", "audit_events": "source", "audit_checkpoints": "signature"}
CHANGES_OF_ROWS = ("UPDATE {table} SET {column} = ''", "DELETE FROM {table}", "TRUNCATE {table}")
CHANGES_OF_TABLES = (
    "DROP TABLE {table}",
    "ALTER TABLE {table} DISABLE TRIGGER append_only",
    "ALTER TABLE {table} DISABLE TRIGGER ALL",
    "ALTER TABLE {table} ENABLE REPLICA TRIGGER append_only",
    "ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY",
    "DROP TRIGGER append_only ON {table}",
    "CREATE POLICY all_welcome ON {table} USING (true) WITH CHECK (true)",
    "CREATE RULE silence AS ON INSERT TO {table} DO INSTEAD NOTHING",
    "ALTER TABLE {table} RENAME TO elsewhere",
    "ALTER TABLE {table} OWNER TO CURRENT_USER",
    "LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE",
    "COPY {table} FROM PROGRAM 'true'",
)
CHANGES_OF_FUNCTIONS = (
    "DROP FUNCTION append_audit",
    "CREATE OR REPLACE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "CREATE FUNCTION public.append_audit() RETURNS void LANGUAGE sql AS ''",
    "CREATE OR REPLACE FUNCTION demand_audit_order() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "ALTER FUNCTION append_audit SECURITY INVOKER",
)
WAYS_AROUND = (
    "SET session_replication_role = replica",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "ALTER ROLE CURRENT_USER BYPASSRLS",
    "SET ROLE dermabatch_owner",
    "GRANT dermabatch_owner TO CURRENT_USER",
    "CREATE EVENT TRIGGER quiet ON sql_drop EXECUTE FUNCTION refuse_audit_change()",
)


def forged_event(*seqs):
    rows = ", ".join(f"({seq}, {VALUES}, sha256(''))" for seq in seqs)
    return f"INSERT INTO audit_events (seq, {COLUMNS}, hash) VALUES {rows}"


def changes(tables, *groups):
    templates = [template for group in groups for template in group]
    return [text.format(table=table, column=COLUMN_OF[table]) for table, text in product(tables, templates)]


def answer(database, role, *statements):
    """What the database says to the last statement; empty if it obeys. Nothing is kept."""
    with database.sessions(role).open(auditor=True) as session:
        try:
            for statement in statements:
                session.execute(sa.text(statement))
        except DBAPIError as error:
            return str(error.orig).splitlines()[0]
        finally:
            session.rollback()
        return ""


def is_refusal(reason):
    return any(
        words in reason
        for words in (
            *("permission denied", "must be owner", "append-only", "row-level security"),
            *("must be superuser", "must be able to SET ROLE"),
        )
    )


@pytest.mark.parametrize("role", PROGRAMS)
def test_no_program_changes_the_trail(signed_trail, role):
    statements = [
        *changes(TABLES, CHANGES_OF_ROWS, CHANGES_OF_TABLES),
        *(*CHANGES_OF_FUNCTIONS, *WAYS_AROUND),
    ]
    if role == "chainer":
        # Taking what it has chained is its work, and with that goes the right to lock the table.
        statements.remove("DELETE FROM audit_pending")
        statements.remove("LOCK TABLE audit_pending IN ACCESS EXCLUSIVE MODE")
    obeyed = [text for text in statements if not is_refusal(answer(signed_trail.database, role, text))]
    assert obeyed == []


@pytest.mark.parametrize("role", ["owner", "postgres"])
def test_not_even_owner_and_superuser_change_the_trail_by_accident(signed_trail, role):
    signed_trail.write()
    statements = changes(("audit_events", "audit_checkpoints"), CHANGES_OF_ROWS)
    statements += ["UPDATE audit_pending SET source = ''", "TRUNCATE audit_pending"]
    obeyed = [text for text in statements if "append-only" not in answer(signed_trail.database, role, text)]
    assert obeyed == []


def test_a_session_that_calls_itself_a_replica_is_stopped_too(signed_trail):
    statements = changes(("audit_events", "audit_checkpoints"), CHANGES_OF_ROWS)
    replica = "SET LOCAL session_replication_role = replica"
    obeyed = [
        text
        for text in statements
        if "append-only" not in answer(signed_trail.database, "postgres", replica, text)
    ]
    assert obeyed == []
    assert "at its end" in answer(signed_trail.database, "postgres", replica, forged_event(40))


@pytest.mark.parametrize("role", ["web", "worker", "trainer", "owner"])
def test_only_the_chainer_writes_events_and_checkpoints(signed_trail, role):
    for forged in (forged_event(15), forged_event(31), forged_event(40), FORGED_CHECKPOINT):
        assert is_refusal(answer(signed_trail.database, role, forged))


@pytest.mark.parametrize("role", PROGRAMS)
def test_nobody_appends_past_the_function(trail, role):
    assert is_refusal(answer(trail.database, role, FORGED_PENDING))


def test_events_out_of_order_are_refused_to_the_chainer_too(signed_trail):
    for seq in (-1, 0, 15, 30, 32):
        assert answer(signed_trail.database, "chainer", forged_event(seq)) != ""
    assert "without gaps" in answer(signed_trail.database, "chainer", forged_event(31, 33))
    assert answer(signed_trail.database, "chainer", forged_event(31)) == ""


def test_a_hole_in_the_chain_is_not_filled(signed_trail):
    signed_trail.tamper("DELETE FROM audit_events WHERE seq = 15")
    assert "only at its end" in answer(signed_trail.database, "chainer", forged_event(15))


def test_only_the_programs_may_append(database):
    grantees = sa.text("""
        SELECT grantee::regrole::text FROM pg_proc, aclexplode(proacl)
        WHERE proname = 'append_audit' AND privilege_type = 'EXECUTE' ORDER BY 1
    """)
    with database.sessions("owner").begin() as session:
        allowed = session.scalars(grantees).all()
    assert allowed == [
        "dermabatch_chainer",
        "dermabatch_owner",
        "dermabatch_trainer",
        "dermabatch_web",
        "dermabatch_worker",
    ]


@pytest.mark.parametrize("role", ["web", "worker", "trainer"])
def test_what_waits_is_read_by_the_chainer_alone(trail, role):
    assert is_refusal(answer(trail.database, role, "SELECT FROM audit_pending"))


def test_an_event_that_makes_no_sense_is_refused(database):
    sense = {"outcome": "'success'", "kind": "'service'", "details": "'{}'"}
    call = "SELECT append_audit('image.view', {outcome}, NULL, {kind}, 'tests', NULL, NULL, NULL, NULL, {details})"
    assert answer(database, "web", call.format(**sense)) == ""
    for nonsense in ({"outcome": "'maybe'"}, {"kind": "'ghost'"}, {"details": "'[]'"}, {"details": "'no'"}):
        assert "violates check constraint" in answer(database, "web", call.format(**{**sense, **nonsense}))
