"""Departments are kept apart by the database itself, whatever a page asks for."""

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

WORK = {"subjects", "lesions", "batches", "packs", "chunks", "images", "predictions"}
"""What the departments of these tests have filled."""

OF_THE_INSTALLATION = {
    # Signing in finds a person before any department is known.
    *("users", "users_roles", "roles", "departments", "api_tokens"),
    *("web_sessions", "known_devices", "second_factors", "recovery_codes", "guess_counters"),
    *("models", "activations", "scheduled_runs", "screening_alerts", "audit_checkpoints", "alembic_version"),
}
"""Says nothing of a patient. Every other table has a column `department_id`."""

PROGRAMS = ("dermabatch_web", "dermabatch_worker", "dermabatch_chainer", "dermabatch_trainer")

BY_KIND = sa.text("""
    SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = ANY(:kinds)
""")
WITH_A_DEPARTMENT = sa.text("""
    SELECT relname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attname = 'department_id' AND NOT attisdropped
""")
FORCED = sa.text("SELECT relname FROM pg_class WHERE relrowsecurity AND relforcerowsecurity")
POLICIES_OF_THE_PORTAL = sa.text("""
    SELECT tablename, qual, with_check FROM pg_policies
    WHERE schemaname = 'public' AND roles && '{public,dermabatch_web}'::name[]
""")


@pytest.fixture(scope="module")
def owner(house):
    return house.database.sessions("owner")


def open_to_everybody(session):
    """Tables with a department that the portal's role reads, or writes, without being held to it."""
    departmental = set(session.scalars(WITH_A_DEPARTMENT)) - OF_THE_INSTALLATION
    loose = {
        table
        for table, sees, writes in session.execute(POLICIES_OF_THE_PORTAL)
        if any(
            condition is not None and "current_department()" not in condition for condition in (sees, writes)
        )
    }
    return departmental - set(session.scalars(FORCED)) | departmental & loose


def test_every_table_has_a_department_or_is_known_to_say_nothing_of_a_patient(owner):
    with owner.begin() as session:
        tables = set(session.scalars(BY_KIND, {"kinds": ["r", "p"]}))
        assert tables - set(session.scalars(WITH_A_DEPARTMENT)) <= OF_THE_INSTALLATION


def test_every_table_with_a_department_is_under_forced_row_level_security(owner):
    with owner.begin() as session:
        assert WORK | {"audit_events", "audit_pending"} <= set(session.scalars(WITH_A_DEPARTMENT))
        assert open_to_everybody(session) == set()


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE notes (department_id uuid)"],
        ["CREATE TABLE notes (department_id uuid)", "ALTER TABLE notes ENABLE ROW LEVEL SECURITY"],
    ],
    ids=["without", "not forced"],
)
def test_a_new_table_without_row_level_security_would_be_found(owner, statements):
    with owner.open() as session:
        for statement in statements:
            session.execute(sa.text(statement))
        assert open_to_everybody(session) == {"notes"}
        session.rollback()


@pytest.mark.parametrize("policy", ["FOR SELECT TO dermabatch_web USING (true)", "TO public USING (true)"])
def test_a_policy_that_shows_all_would_be_found(owner, policy):
    with owner.open() as session:
        session.execute(sa.text(f"CREATE POLICY all_welcome ON images {policy}"))
        assert open_to_everybody(session) == {"images"}
        session.rollback()


def test_no_view_shows_what_its_tables_hide(owner):
    with owner.begin() as session:
        assert session.scalars(BY_KIND, {"kinds": ["v", "m", "f"]}).all() == []


def test_functions_that_act_as_their_owner_are_few_and_fixed_to_their_schema(owner):
    with owner.begin() as session:
        found = session.execute(
            sa.text("""
                SELECT proname, proconfig::text FROM pg_proc
                WHERE prosecdef AND pronamespace = 'public'::regnamespace
            """)
        ).all()
    assert {name for name, _ in found} == {"append_audit", "audit_backlog"}
    assert all("search_path=pg_catalog" in settings for _, settings in found)


def test_no_program_has_a_role_that_passes_row_level_security_or_may_become_one(owner):
    attributes = ("rolsuper", "rolbypassrls", "rolcreaterole", "rolcreatedb", "rolreplication")
    with owner.begin() as session:
        roles = session.execute(
            sa.text(f"SELECT rolname, {', '.join(attributes)} FROM pg_roles WHERE rolname LIKE 'dermabatch%'")
        ).all()
        members = session.execute(
            sa.text("""
                SELECT member::regrole::text, roleid::regrole::text FROM pg_auth_members
                WHERE member::regrole::text LIKE 'dermabatch%'
            """)
        ).all()
    assert {role for role, *_ in roles} == {*PROGRAMS, "dermabatch_owner"}
    assert [role for role, *rights in roles if any(rights)] == []
    assert members == []


def test_no_program_owns_anything(owner):
    with owner.begin() as session:
        owners = session.scalars(
            sa.text("""
                SELECT relowner::regrole::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
                UNION SELECT proowner::regrole::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace
                UNION SELECT datdba::regrole::text FROM pg_database WHERE datname = current_database()
            """)
        ).all()
    assert owners == ["dermabatch_owner"]


@pytest.mark.parametrize("table", sorted(WORK))
def test_each_department_sees_its_own_rows_and_without_one_there_are_none(house, here, there, table):
    departments = sa.text(f"SELECT department_id FROM {table}")
    first, second = house.hospital.department, house.hospital.other_department
    with house.database.sessions("worker").begin() as session:
        assert set(session.scalars(departments)) == {first, second}
    for department, seen in ((first, {first}), (second, {second}), (None, set())):
        with house.sessions.begin(department=department) as session:
            assert set(session.scalars(departments)) == seen
    with house.database.sessions("owner").begin() as session:
        assert session.scalars(departments).all() == []


@pytest.mark.parametrize("table", sorted(WORK))
@pytest.mark.parametrize("mine", [True, False], ids=["own", "unset"])
def test_no_row_is_written_for_another_department_nor_moved_there(house, here, there, table, mine):
    mine = house.hospital.department if mine else None
    for statement in (
        f"INSERT INTO {table} (department_id) VALUES (:other)",
        f"UPDATE {table} SET department_id = :other",
        f"DELETE FROM {table}",
    ):
        said, rows = answer(house, statement, department=mine, other=house.hospital.other_department)
        assert "row-level security" in said or "permission denied" in said or (mine is None and rows == 0), (
            statement
        )


@pytest.mark.parametrize("table", ["batches", "packs", "chunks", "images", "subjects"])
def test_a_change_of_all_rows_is_one_of_the_own_department(house, here, there, table):
    with house.database.sessions("worker").begin() as session:
        of_all = session.scalar(sa.text(f"SELECT count(*) FROM {table}"))
    for department in (house.hospital.department, house.hospital.other_department):
        said, rows = answer(house, f"UPDATE {table} SET id = id", department=department)
        assert said == ""
        assert 0 < rows < of_all


@pytest.mark.parametrize(
    "statement",
    [
        *(f"SET ROLE {role}" for role in ("dermabatch_owner", "dermabatch_worker", "postgres")),
        *(f"SET SESSION AUTHORIZATION {role}" for role in ("dermabatch_worker", "postgres")),
        "ALTER ROLE CURRENT_USER BYPASSRLS",
        "GRANT dermabatch_worker TO CURRENT_USER",
        "ALTER TABLE images NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE images DISABLE ROW LEVEL SECURITY",
        "DROP POLICY own_department ON images",
        "ALTER POLICY own_department ON images USING (true)",
        "CREATE POLICY all_welcome ON images USING (true)",
        "CREATE OR REPLACE FUNCTION current_department() RETURNS uuid LANGUAGE sql RETURN NULL",
        "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql RETURN 1",
        "CREATE VIEW public.everything AS SELECT * FROM images",
        "COPY images TO PROGRAM 'cat'",
        "SELECT pg_read_file('PG_VERSION')",
    ],
)
def test_the_portals_role_cannot_let_itself_out(house, here, statement):
    said, _ = answer(house, statement, department=house.hospital.department)
    assert any(
        words in said
        for words in ("permission denied", "must be owner", "must be superuser", "must be able to")
    ), said


def test_turning_row_level_security_off_for_oneself_shows_nothing_either(house, here):
    with house.sessions.open(department=house.hospital.department) as session:
        session.execute(sa.text("SET LOCAL row_security = off"))
        with pytest.raises(DBAPIError, match="would be affected by row-level security"):
            session.execute(sa.text("SELECT * FROM images"))


def test_a_function_of_the_same_name_in_the_way_changes_nothing(house, here, there):
    with house.sessions.open(department=house.hospital.department) as session:
        session.execute(
            sa.text(f"""
                CREATE FUNCTION pg_temp.current_department() RETURNS uuid LANGUAGE sql
                RETURN '{house.hospital.other_department}'::uuid
            """)
        )
        session.execute(sa.text("SET LOCAL search_path = pg_temp, public"))
        seen = set(session.scalars(sa.text("SELECT department_id FROM public.batches")))
    assert seen == {house.hospital.department}


def test_a_department_that_is_none_fails_and_shows_nothing(house, here):
    said, _ = answer(house, "SELECT * FROM images", department="' OR true --")
    assert "invalid input syntax for type uuid" in said


def test_no_department_is_left_behind_on_a_pooled_connection(house, here):
    count = sa.text("SELECT count(*) FROM images")
    with house.sessions.begin(department=house.hospital.department) as session:
        process = session.scalar(sa.text("SELECT pg_backend_pid()"))
        # Not only for this transaction, as a statement that somebody slipped in could do it.
        session.execute(sa.text(f"SET SESSION dermabatch.department = '{house.hospital.department}'"))
        session.execute(sa.text("SET SESSION dermabatch.auditor = 'on'"))
        assert session.scalar(count) > 0
    with house.sessions.begin() as session:
        assert session.scalar(sa.text("SELECT pg_backend_pid()")) == process
        assert session.scalar(count) == 0
        assert session.scalar(sa.text("SELECT count(*) FROM audit_events")) == 0


def test_the_trail_of_another_department_is_for_administrators_alone(house, here, there):
    departments = sa.text("SELECT DISTINCT department_id FROM audit_events")
    first = house.hospital.department
    with house.sessions.begin(department=first) as session:
        assert set(session.scalars(departments)) == {first}
    with house.sessions.begin(department=first, auditor=True) as session:
        assert len(set(session.scalars(departments))) > 1
    said, _ = answer(house, "SELECT * FROM audit_pending", department=first)
    assert "permission denied" in said


def answer(house, statement, *, department, **values):
    """What the database says to the portal's role, and how many rows it touched. Nothing is kept."""
    with house.sessions.open(department=department) as session:
        try:
            return "", session.execute(sa.text(statement), values).rowcount
        except DBAPIError as error:
            return str(error.orig).splitlines()[0], None
        finally:
            session.rollback()
