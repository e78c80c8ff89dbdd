"""A server that may forget what it confirmed."""

from contextlib import closing

import pytest
import sqlalchemy as sa

from dermabatch.database import connect
from dermabatch.durability import require_durability
from dermabatch.errors import ConfigurationError


@pytest.fixture
def sessions(database):
    with closing(connect(database.url("worker"))) as sessions:
        yield sessions


def test_a_durable_server_is_used(sessions, switch):
    switch("fsync", "on")
    require_durability(sessions)
    with sessions.begin() as session:
        assert session.scalar(sa.text("SELECT 1")) == 1


@pytest.mark.parametrize("name", ["fsync", "full_page_writes", "synchronous_commit"])
def test_a_server_that_may_forget_what_it_confirmed_is_refused_with_the_remedy(sessions, switch, name):
    switch("fsync", "on")
    switch(name, "off")
    with pytest.raises(ConfigurationError, match=f"ALTER SYSTEM SET {name} = on;"):
        require_durability(sessions)


def test_a_server_that_forgets_from_its_next_restart_on_is_refused_then(sessions, switch):
    switch("fsync", "on")
    require_durability(sessions)
    switch("fsync", "off")
    sessions.engine.dispose()
    with pytest.raises(ConfigurationError, match="fsync off"), sessions.begin() as session:
        session.execute(sa.text("SELECT 1"))


def test_a_server_that_is_away_is_judged_when_it_is_back():
    with closing(connect("postgresql+psycopg2://somebody@127.0.0.1:1/nothing")) as sessions:
        require_durability(sessions)
