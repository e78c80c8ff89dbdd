import os

import pytest
import sqlalchemy as sa
from alembic import command

import migrations
from dermabatch.schema import Base
from dermabatch.subjects import KeyRing
from dermabatch.triage import Triage
from tests.situations import File, batch_with_results, open_hospital, register_active_model

DEPARTMENTAL = ("subjects", "lesions", "batches", "packs", "chunks", "images", "predictions")


@pytest.fixture
def hospital_with_results(database):
    """One department with a batch, another one without."""
    web, worker = database.sessions("web"), database.sessions("worker")
    hospital = open_hospital(web)
    digest = register_active_model(web, hospital)
    files = [File("a.jpg", Triage.URGENT, 0.8, lesion="L1"), File("b.jpg")]
    batch_with_results(web, worker, hospital, KeyRing(os.urandom(32)), files, digest=digest)
    return hospital


def tables_of(database):
    with database.sessions("owner").begin() as session:
        return set(session.scalars(sa.text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")))


def test_the_migrations_make_exactly_what_the_schema_says(database):
    command.check(migrations.configuration(database.url("owner")))


def test_an_empty_database_goes_down_and_up_again(database):
    migrations.downgrade(database.url("owner"))
    assert tables_of(database) == {"alembic_version"}
    migrations.upgrade(database.url("owner"))
    assert tables_of(database) == {*Base.metadata.tables, "alembic_version"}


def test_a_database_with_data_goes_down_and_up_again(database, hospital_with_results):
    migrations.downgrade(database.url("owner"))
    migrations.upgrade(database.url("owner"))
    assert tables_of(database) == {*Base.metadata.tables, "alembic_version"}


def test_upgrading_twice_changes_nothing(database, hospital_with_results):
    migrations.upgrade(database.url("owner"))
    with database.sessions("worker").begin() as session:
        assert session.scalar(sa.text("SELECT count(*) FROM images")) == 2


@pytest.mark.parametrize("table", DEPARTMENTAL)
def test_row_level_security_is_forced_on_every_departmental_table(database, table):
    with database.sessions("owner").begin() as session:
        on, forced = session.execute(
            sa.text(
                "SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE oid = CAST(:t AS regclass)"
            ),
            {"t": table},
        ).one()
    assert on
    assert forced


@pytest.mark.parametrize("table", ["batches", "packs", "chunks", "images", "predictions", "lesions"])
def test_a_department_sees_its_own_rows_and_nobody_elses(database, hospital_with_results, table):
    web = database.sessions("web")
    query = sa.text(f"SELECT count(*) FROM {table}")
    with web.begin(department=hospital_with_results.department) as session:
        assert session.scalar(query) > 0
    with web.begin(department=hospital_with_results.other_department) as session:
        assert session.scalar(query) == 0
    with web.begin() as session:
        assert session.scalar(query) == 0
    with database.sessions("owner").begin() as session:
        assert session.scalar(query) == 0


def test_a_row_cannot_be_moved_into_another_department(database, hospital_with_results):
    with (
        pytest.raises(sa.exc.ProgrammingError, match="row-level security"),
        database.sessions("web").begin(department=hospital_with_results.department) as session,
    ):
        session.execute(
            sa.text("UPDATE batches SET department_id = :other"),
            {"other": hospital_with_results.other_department},
        )


@pytest.mark.parametrize("role", ["web", "worker", "chainer", "trainer"])
@pytest.mark.parametrize("table", ["batches", "images", "predictions", "packs"])
def test_no_program_may_delete_work(database, hospital_with_results, role, table):
    with (
        pytest.raises(sa.exc.ProgrammingError, match="permission denied"),
        database.sessions(role).begin(department=hospital_with_results.department) as session,
    ):
        session.execute(sa.text(f"DELETE FROM {table}"))


def test_no_role_is_a_superuser_or_passes_row_level_security(database):
    with database.sessions("owner").begin() as session:
        roles = session.execute(
            sa.text("SELECT rolname, rolsuper, rolbypassrls FROM pg_roles WHERE rolname LIKE 'dermabatch%'")
        ).all()
    assert len(roles) == 5
    assert not any(superuser or bypass for _, superuser, bypass in roles)


def test_whoever_publishes_a_model_cannot_activate_it(database, hospital_with_results):
    with (
        pytest.raises(sa.exc.IntegrityError, match="needs_a_second_person"),
        database.sessions("web").begin() as session,
    ):
        session.execute(
            sa.text(
                "INSERT INTO activations (model_digest, activated_by, published_by, returned)"
                " SELECT digest, published_by, published_by, false FROM models"
            )
        )


def test_two_models_are_never_active_at_once(database, hospital_with_results):
    with pytest.raises(sa.exc.IntegrityError, match="one_active"):
        register_active_model(database.sessions("web"), hospital_with_results, digest="cd" * 32)
