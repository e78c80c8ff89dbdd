"""On whose behalf a command acts: the settings, the database, and the person named by --user."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any, Final, TypeVar

import click
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from dermabatch import accounts, audit
from dermabatch.audit import Action, Actor, ActorKind, Details, Event, Outcome
from dermabatch.database import Sessions, connect
from dermabatch.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    DermabatchError,
    NotAllowed,
    NotFound,
    ServiceUnavailable,
)
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
    with closing(connect(settings.database_url.get_secret_value())) as sessions, answering_for(sessions):
        yield settings, sessions


@contextmanager
def answering_for(sessions: Sessions) -> Iterator[None]:
    """Where the command comes to nothing and no event has said why, leave one."""
    told: list[int] = []
    audit.tell_of_commits(sessions, told.append)
    try:
        yield
    except (DermabatchError, click.Abort) as error:
        if not told and not isinstance(error, DatabaseUnavailable):
            # The error itself is what the person has to read.
            with suppress(DermabatchError, SQLAlchemyError):
                _note_failure(sessions, error)
        raise


def note_reading(
    session: Session,
    action: Action,
    *,
    thing: tuple[str, str] | None = None,
    details: Details | None = None,
) -> None:
    """Append the event of a command that shows something and asks nobody for their name."""
    object_type, object_id = thing or (None, None)
    event = Event(
        action,
        Outcome.SUCCESS,
        actor=THE_COMMAND_LINE,
        object_type=object_type,
        object_id=object_id,
        details=details or {},
    )
    audit.append(session, event)


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


def _note_failure(sessions: Sessions, error: Exception) -> None:
    context = click.get_current_context()
    ours = isinstance(error, ServiceUnavailable | ConfigurationError)
    with sessions.begin() as session:
        audit.append(
            session,
            Event(
                Action.REQUEST_FAILED,
                Outcome.FAILED if ours else Outcome.REFUSED,
                actor=_named_actor(session, context.params.get("email")),
                details={
                    "command": context.command_path.partition(" ")[2],
                    "code": error.code if isinstance(error, DermabatchError) else "aborted",
                },
            ),
        )


def _named_actor(session: Session, email: str | None) -> Actor:
    """Whom --user names, if there is such a person; what else was typed stays out of the trail."""
    try:
        return accounts.find_actor(session, email, source=SOURCE) if email else THE_COMMAND_LINE
    except (NotFound, NotAllowed):
        return THE_COMMAND_LINE


def print_json(value: dict[str, Any]) -> None:
    """The one object that `--json` promises."""
    click.echo(json.dumps(value, default=str))
