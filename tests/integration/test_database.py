import pytest
import sqlalchemy as sa

from dermabatch.database import connect
from dermabatch.errors import ConfigurationError, DatabaseUnavailable


def test_a_database_that_does_not_listen_is_a_missing_service():
    sessions = connect("postgresql+psycopg2://somebody@127.0.0.1:1/nothing")
    with pytest.raises(DatabaseUnavailable, match="Connection refused"), sessions.begin() as session:
        session.execute(sa.text("SELECT 1"))


def test_a_cut_connection_is_a_missing_service_and_its_message_quotes_no_row(database):
    secret = "a name that no log may hold"
    with pytest.raises(DatabaseUnavailable) as caught, database.sessions("worker").begin() as session:
        session.execute(sa.text("SELECT pg_terminate_backend(pg_backend_pid()), :secret"), {"secret": secret})
    assert secret not in str(caught.value)


def test_a_refused_row_is_a_bug_and_stays_one(database):
    with pytest.raises(sa.exc.IntegrityError), database.sessions("owner").begin() as session:
        session.execute(sa.text("INSERT INTO departments (id, name) VALUES (gen_random_uuid(), NULL)"))


def test_a_url_for_another_driver_is_refused():
    with pytest.raises(ConfigurationError, match=r"Received: postgresql://"):
        connect("postgresql://somebody@127.0.0.1/nothing")
