import os

import pytest
import sqlalchemy as sa
from alembic import command

import migrations
from dermabatch.schema import Base
from dermabatch.subjects import KeyRing
from dermabatch.triage import Triage
from tests.situations import File, batch_with_results, open_hospital, register_active_model


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


@pytest.mark.parametrize("role", ["web", "worker", "chainer", "trainer"])
@pytest.mark.parametrize("table", ["batches", "images", "predictions", "packs"])
def test_no_program_may_delete_work(database, hospital_with_results, role, table):
    with (
        pytest.raises(sa.exc.ProgrammingError, match="permission denied"),
        database.sessions(role).begin(department=hospital_with_results.department) as session,
    ):
        session.execute(sa.text(f"DELETE FROM {table}"))


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
