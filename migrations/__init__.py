"""Alembic migrations of the database, run as the role that owns it."""

from pathlib import Path

from alembic import command
from alembic.config import Config

_HERE = Path(__file__).parent


def configuration(url: str) -> Config:
    """Alembic's configuration for a database; `url` is SQLAlchemy's, with the owner's role."""
    config = Config()
    config.set_main_option("script_location", str(_HERE))
    # ConfigParser takes % for its own.
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database to a revision. Safe to repeat, and to run from two programs at once."""
    command.upgrade(configuration(url), revision)


def downgrade(url: str, revision: str = "base") -> None:
    """Take the database back to an earlier revision. What later revisions hold is lost."""
    command.downgrade(configuration(url), revision)
