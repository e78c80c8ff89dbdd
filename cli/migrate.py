"""`dermabatch migrate`."""

from pathlib import Path

import click
import sqlalchemy as sa
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

import migrations
from dermabatch import accounts, database_roles
from dermabatch.database import connect
from dermabatch.errors import ConfigurationError

_SECRETS = Path("/run/secrets")


class MigrationSettings(BaseSettings):
    """Each role's way into the same database. Only this command knows them all."""

    model_config = SettingsConfigDict(
        env_prefix="DERMABATCH_", secrets_dir=_SECRETS if _SECRETS.is_dir() else None, extra="ignore"
    )

    owner_url: SecretStr
    web_url: SecretStr
    worker_url: SecretStr
    chainer_url: SecretStr
    trainer_url: SecretStr
    superuser_url: SecretStr | None = Field(
        default=None, description="where given, the roles and the database are made first"
    )


@click.command()
def migrate() -> None:
    """Bring the database to the newest revision, and make what every installation needs. Safe to repeat.

    Reads DERMABATCH_OWNER_URL, _WEB_URL, _WORKER_URL, _CHAINER_URL and _TRAINER_URL; with DERMABATCH_SUPERUSER_URL it
    makes these roles and the database first.
    """
    try:
        settings = MigrationSettings()
    except ValidationError as error:
        missing = ", ".join(f"DERMABATCH_{str(problem['loc'][0]).upper()}" for problem in error.errors())
        raise ConfigurationError(f"Set {missing}: see docs/operators.md.") from None
    if settings.superuser_url is not None:
        _make_roles(settings, settings.superuser_url.get_secret_value())
    migrations.upgrade(settings.owner_url.get_secret_value())
    sessions = connect(settings.web_url.get_secret_value())
    accounts.bootstrap(sessions, source="migrate")
    sessions.close()
    click.echo("The database is at the newest revision.", err=True)


def _make_roles(settings: MigrationSettings, superuser_url: str) -> None:
    urls = [
        sa.make_url(getattr(settings, f"{role.removeprefix('dermabatch_')}_url").get_secret_value())
        for role in database_roles.LOGIN_ROLES
    ]
    passwords = {str(url.username): str(url.password) for url in urls}
    unknown = set(database_roles.LOGIN_ROLES) ^ set(passwords)
    if unknown:
        roles = ", ".join(database_roles.LOGIN_ROLES)
        raise ConfigurationError(f"Expected one URL for each of the roles {roles}.")
    name = str(urls[0].database)
    # CREATE DATABASE runs in no transaction.
    engine = sa.create_engine(superuser_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        for statement in database_roles.role_statements(passwords):
            connection.exec_driver_sql(statement)
        known = connection.scalar(sa.text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": name})
        if not known:
            quoted = engine.dialect.identifier_preparer.quote(name)
            connection.exec_driver_sql(f"CREATE DATABASE {quoted} OWNER {database_roles.OWNER}")
