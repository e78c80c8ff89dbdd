"""A database that may forget in a power cut what it has confirmed is refused: an upload exists once."""

from collections.abc import Sequence
from contextlib import closing, suppress

import sqlalchemy as sa

from dermabatch.database import Sessions
from dermabatch.errors import ConfigurationError, DatabaseUnavailable

# Without the first two a crash of the host leaves a damaged cluster, without the third it forgets the last commits.
_SWITCHED_OFF = """
    SELECT name FROM pg_settings
    WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off' ORDER BY name
"""


def require_durability(sessions: Sessions) -> None:
    """Use no forgetful server, now or after its next restart. One that is away now is judged when it is back.

    Raises:
        ConfigurationError: it is forgetful. Later every new connection to such a server raises it.
    """
    sa.event.listen(sessions.engine, "connect", _refuse_a_forgetful_server)
    with suppress(DatabaseUnavailable):
        switched_off(sessions)


def switched_off(sessions: Sessions) -> list[str]:
    """Names of the settings that make the server forgetful.

    Raises:
        DatabaseUnavailable: it does not answer.
    """
    with sessions.begin() as session:
        return list(session.scalars(sa.text(_SWITCHED_OFF)))


def remedy(names: Sequence[str]) -> str:
    """What the administrator of the database is to do."""
    return " ".join([*(f"ALTER SYSTEM SET {name} = on;" for name in names), "SELECT pg_reload_conf();"])


def _refuse_a_forgetful_server(connection: sa.engine.interfaces.DBAPIConnection, _record: object) -> None:
    with closing(connection.cursor()) as cursor:
        cursor.execute(_SWITCHED_OFF)
        names = [name for (name,) in cursor.fetchall()]
    connection.rollback()
    if names:
        raise ConfigurationError(
            f"PostgreSQL runs with {' and '.join(names)} off: a power cut would lose images that were confirmed."
            f" As its administrator: {remedy(names)}"
        )
