"""On whose behalf a command acts: the settings, the database, and the person named by --user."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, Final, TypeVar

import click
from sqlalchemy.orm import Session

from dermabatch import accounts
from dermabatch.audit import Actor, ActorKind
from dermabatch.database import Sessions, connect
from dermabatch.errors import NotAllowed
from dermabatch.schema import User
from dermabatch.settings import Settings, load_settings

SOURCE: Final = f"command line, uid {os.getuid()}"
"""From where, as the audit trail has it."""

THE_COMMAND_LINE: Final = Actor(None, ActorKind.SERVICE, SOURCE)
"""Whoever holds the installation's secrets, where no person is named."""

AS_JSON: Final = click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")

_Command = TypeVar("_Command", bound=Callable[..., Any])


def acting_user(*, required: bool, help: str) -> Callable[[_Command], _Command]:
    """The option --user, which the environment may hold as well."""
    return click.option(
        "--user", "email", metavar="EMAIL", envvar="DERMABATCH_USER", required=required, help=help
    )


@contextmanager
def connected() -> Iterator[tuple[Settings, Sessions]]:
    """The settings of this process and its way to the database.

    Raises:
        ConfigurationError: a setting is missing.
    """
    settings = load_settings()
    with closing(connect(settings.database_url.get_secret_value())) as sessions:
        yield settings, sessions


def person(session: Session, email: str, *roles: str) -> User:
    """The active user with this address.

    Raises:
        NotFound: there is none.
        NotAllowed: disabled, or without any of these roles.
    """
    user = accounts.find_user(session, email)
    if not user.active or (roles and not accounts.has_role(user, *roles)):
        raise NotAllowed(
            f"Expected an active user with the role {' or '.join(roles) or 'any'}. Received: {email}"
        )
    return user


def actor_of(user: User) -> Actor:
    """The user as the audit trail names them when they act from here."""
    return accounts.actor_for(user, source=SOURCE)


def print_json(value: dict[str, Any]) -> None:
    """The one object that `--json` promises."""
    click.echo(json.dumps(value, default=str))
