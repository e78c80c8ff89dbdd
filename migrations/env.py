"""How Alembic reaches the database."""

import sqlalchemy as sa
from alembic import context

import dermabatch.audit.tables
import dermabatch.screening.tables  # noqa: F401 - they too belong to the metadata
from dermabatch.schema import Base

# Any number works; it must only be ours. Two `migrate` jobs of one deployment wait for each other here.
_MIGRATION_LOCK = 7_261_532_911


def _run() -> None:
    url = context.config.get_main_option("sqlalchemy.url")
    if url is None:
        raise ValueError("Expected sqlalchemy.url in Alembic's configuration.")
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        # A migration must never queue behind a long read and so block every other query behind itself.
        connection.execute(sa.text("SET lock_timeout = '10s'"))
        connection.execute(sa.text("SELECT pg_advisory_lock(:lock)"), {"lock": _MIGRATION_LOCK})
        connection.commit()
        context.configure(connection=connection, target_metadata=Base.metadata, compare_type=True)
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()


_run()
