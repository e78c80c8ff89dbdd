"""How programs reach PostgreSQL, and how a session is tied to one department.

>>> sessions = connect("postgresql+psycopg2://...")
>>> with sessions.begin(department=department_id) as session: ...
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session, sessionmaker

from dermabatch.errors import ConfigurationError, DatabaseUnavailable

_SESSION_DEFAULTS = " ".join(
    (
        # A statement that waits this long for a row is stuck behind a bug; fail it and let the caller try again.
        "-c lock_timeout=10s",
        # A program stopped in mid-transaction must not hold its locks for ever.
        "-c idle_in_transaction_session_timeout=60s",
        "-c timezone=UTC",
    )
)

# A database host that vanished answers nothing, and the kernel would wait for it for hours.
_NOTICE_A_DEAD_HOST = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,  # milliseconds
}


class Sessions:
    """Opens sessions on one database. Thread-safe; one per program."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self._factory = sessionmaker(engine, expire_on_commit=False)
        event.listen(self._factory, "after_begin", _enter_tenancy)

    def open(self, *, department: UUID | None = None, auditor: bool = False) -> Session:
        """A session whose every transaction sees one department.

        Args:
            department: whose rows the portal's role sees; None sees none. Worker roles see all either way.
            auditor: also shows audit events of every department.
        """
        return self._factory(info={"department": department, "auditor": auditor})

    @contextmanager
    def begin(self, *, department: UUID | None = None, auditor: bool = False) -> Iterator[Session]:
        """One transaction: committed at the end, rolled back by an exception.

        Raises:
            DatabaseUnavailable: trying the whole transaction again later is right. Where the connection was cut
                during the commit it may have taken effect.
        """
        try:
            with self.open(department=department, auditor=auditor) as session, session.begin():
                yield session
        except (DBAPIError, PoolTimeout) as error:
            if not _means_try_again(error):
                raise
            raise DatabaseUnavailable(f"The database does not answer: {_reason(error)}") from error

    def after_commit(self, call: Callable[[Session], None]) -> None:
        """Have this called after every commit, in the thread of its transaction."""
        event.listen(self._factory, "after_commit", call)

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


def connect(url: str, *, pool_size: int = 5) -> Sessions:
    """Prepare the way to a database. Nothing connects before the first transaction.

    Raises:
        ConfigurationError: the URL is not for psycopg2 (a bare `postgresql://` means another driver).
    """
    if not url.startswith("postgresql+psycopg2://"):
        scheme = url.partition("://")[0]
        raise ConfigurationError(
            f"Expected a database URL that starts with postgresql+psycopg2://. Received: {scheme}://"
        )
    engine = sa.create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        hide_parameters=True,  # an error quotes its statement into a log, never a row
        connect_args={"options": _SESSION_DEFAULTS, "application_name": "dermabatch", **_NOTICE_A_DEAD_HOST},
    )
    return Sessions(engine)


def _means_try_again(error: DBAPIError | PoolTimeout) -> bool:
    if isinstance(error, OperationalError | InterfaceError | PoolTimeout):
        return True
    # psycopg2 reports a few kinds of cut connection as a plain DatabaseError.
    return error.connection_invalidated


def _reason(error: DBAPIError | PoolTimeout) -> str:
    """The first line of what the driver says; the full text of SQLAlchemy would quote rows into logs."""
    said = str(error.orig if isinstance(error, DBAPIError) else error)
    return said.partition("\n")[0].strip()


def _enter_tenancy(session: Session, _transaction: object, connection: sa.Connection) -> None:
    # Transaction-local, so that a pooled connection never carries a department to its next user.
    department = session.info["department"]
    connection.execute(
        sa.text(
            "SELECT set_config('dermabatch.department', :department, true),"
            " set_config('dermabatch.auditor', :auditor, true)"
        ),
        {
            "department": str(department) if department else "",
            "auditor": "on" if session.info["auditor"] else "",
        },
    )
