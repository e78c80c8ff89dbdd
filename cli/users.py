"""`dermabatch users`: people, their roles, and the tokens of their programs."""

import secrets
import sys
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sqlalchemy.orm import Session

from cli.acting import (
    AS_JSON,
    THE_COMMAND_LINE,
    acting_user,
    actor_of,
    connected,
    note_reading,
    person,
    print_json,
)
from dermabatch import accounts
from dermabatch.accounts import ADMINISTRATOR, ROLES, Scope
from dermabatch.audit import Action, Actor
from dermabatch.errors import ConfigurationError, NotFound
from dermabatch.schema import ApiToken, User
from dermabatch.settings import Settings

_EMAIL: Final = click.argument("email_of_user", metavar="EMAIL")
_ACTING: Final = acting_user(required=False, help="The administrator who decides, for the audit trail.")


@click.group()
def users() -> None:
    """List, add and change users and their tokens."""


@users.command("list")
@AS_JSON
def list_users(as_json: bool) -> None:
    """Show everybody: people and service principals."""
    with connected() as (_, sessions), sessions.begin() as session:
        found = [_described(user) for user in accounts.list_users(session)]
        note_reading(session, Action.USER_VIEW, details={"list": [user["id"] for user in found]})
    if as_json:
        print_json({"users": found})
        return
    table = Table("address", "name", "department", "roles", "state", box=None)
    for user in found:
        state = "service" if user["service"] else "active" if user["active"] else "disabled"
        row = (user["email"], user["name"], user["department"], ", ".join(user["roles"]), state)
        table.add_row(*map(escape, row))
    Console().print(table)


@users.command()
@_EMAIL
@click.option("--name", required=True, help="As pages show it.")
@click.option(
    "--role", "roles", type=click.Choice(ROLES), multiple=True, required=True, help="May be repeated."
)
@click.option("--department", help="By name.  [default: the oldest]")
@click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input instead of asking."
)
@click.option("--generate-password", is_flag=True, help="Make a password and show it, this once.")
@_ACTING
@AS_JSON
def add(
    email_of_user: str,
    name: str,
    roles: tuple[str, ...],
    department: str | None,
    password_stdin: bool,
    generate_password: bool,
    email: str | None,
    as_json: bool,
) -> None:
    """Add a person who can sign in."""
    password = _password(password_stdin, generate_password)
    with connected() as (settings, sessions), sessions.begin() as session:
        user = accounts.create_user(
            session,
            email=email_of_user,
            name=name,
            password=password,
            roles=roles,
            department=accounts.find_department(session, department),
            salt=_salt(settings),
            actor=_acting(session, email),
        )
        described = _described(user)
    if generate_password:
        described["password"] = password
    if as_json:
        print_json(described)
    else:
        click.echo(f"{described['email']} added as {', '.join(described['roles'])}.")
        if generate_password:
            click.echo(f"Password, shown only now: {password}")


@users.command("add-department")
@click.argument("name")
@_ACTING
@AS_JSON
def add_department(name: str, email: str | None, as_json: bool) -> None:
    """Add a department. Its people see their own batches and nobody else's."""
    with connected() as (_, sessions), sessions.begin() as session:
        department = accounts.create_department(session, name, actor=_acting(session, email))
        described = {"id": str(department.id), "name": department.name}
    if as_json:
        print_json(described)
    else:
        click.echo(f"{name} added. Give it people: dermabatch users add --department {name!r} ...")


@users.command()
@_EMAIL
@click.argument("names", metavar="ROLE...", nargs=-1, type=click.Choice(ROLES))
@_ACTING
@AS_JSON
def roles(email_of_user: str, names: tuple[str, ...], email: str | None, as_json: bool) -> None:
    """Give a user exactly these roles; without any, take all away."""
    with connected() as (_, sessions), sessions.begin() as session:
        user = accounts.find_user(session, email_of_user)
        accounts.set_roles(session, user, names, actor=_acting(session, email))
        described = _described(user)
    _report(
        described, f"{described['email']} has the roles: {', '.join(described['roles']) or 'none'}.", as_json
    )


@users.command()
@_EMAIL
@_ACTING
@AS_JSON
def disable(email_of_user: str, email: str | None, as_json: bool) -> None:
    """Shut a user out at once: sessions end, tokens stop working."""
    with connected() as (_, sessions), sessions.begin() as session:
        user = accounts.find_user(session, email_of_user)
        accounts.disable(session, user, actor=_acting(session, email))
        described = _described(user)
    _report(described, f"{described['email']} is disabled.", as_json)


@users.command()
@_EMAIL
@_ACTING
@AS_JSON
def enable(email_of_user: str, email: str | None, as_json: bool) -> None:
    """Let a disabled user in again."""
    with connected() as (_, sessions), sessions.begin() as session:
        user = accounts.find_user(session, email_of_user)
        accounts.enable(session, user, actor=_acting(session, email))
        described = _described(user)
    _report(described, f"{described['email']} is active.", as_json)


@users.command("sign-out")
@_EMAIL
@_ACTING
@AS_JSON
def sign_out(email_of_user: str, email: str | None, as_json: bool) -> None:
    """End every session of a user, in every browser."""
    with connected() as (_, sessions), sessions.begin() as session:
        user = accounts.find_user(session, email_of_user)
        ended = accounts.end_sessions(session, user, actor=_acting(session, email))
        described = {**_described(user), "sessions_ended": ended}
    _report(described, f"{described['email']} is signed out of {ended} browsers.", as_json)


@users.command("reset-second-factor")
@_EMAIL
@_ACTING
@AS_JSON
def reset_second_factor(email_of_user: str, email: str | None, as_json: bool) -> None:
    """Let a user in who lost the authenticator: with the password alone, until they set up another one."""
    with connected() as (_, sessions), sessions.begin() as session:
        user = accounts.find_user(session, email_of_user)
        accounts.reset_second_factor(session, user, actor=_acting(session, email))
        described = _described(user)
    _report(described, f"{described['email']} has no second factor any more.", as_json)


@users.command("forget-guesses")
@_EMAIL
@_ACTING
@AS_JSON
def forget_guesses(email_of_user: str, email: str | None, as_json: bool) -> None:
    """Let a user try again at once who is held back by wrong passwords, their own or a stranger's."""
    with connected() as (settings, sessions), sessions.begin() as session:
        user = accounts.find_user(session, email_of_user)
        limit = accounts.GuessLimit(_salt(settings))
        accounts.forget_guesses(session, user, limit, actor=_acting(session, email))
        described = _described(user)
    _report(described, f"Wrong passwords of {described['email']} are forgotten.", as_json)


@users.command()
@_EMAIL
@click.option("--name", required=True, help="What it is for.")
@click.option(
    "--scope", "scopes", type=click.Choice([scope.value for scope in Scope]), multiple=True, required=True
)
@click.option("--days", type=click.IntRange(min=1), help="For how long it holds.  [default: until revoked]")
@_ACTING
@AS_JSON
def token(
    email_of_user: str,
    name: str,
    scopes: tuple[str, ...],
    days: int | None,
    email: str | None,
    as_json: bool,
) -> None:
    """Make an API token of a user and show its secret, this once."""
    with connected() as (_, sessions), sessions.begin() as session:
        secret = accounts.create_token(
            session,
            accounts.find_user(session, email_of_user),
            name=name,
            scopes=[Scope(scope) for scope in scopes],
            expires_at=datetime.now(UTC) + timedelta(days=days) if days else None,
            actor=_acting(session, email),
        )
    if as_json:
        print_json({"token": secret, "scopes": scopes})
    else:
        click.echo(secret)


@users.command()
@_EMAIL
@AS_JSON
def tokens(email_of_user: str, as_json: bool) -> None:
    """Show the tokens of a user, without their secrets."""
    with connected() as (_, sessions), sessions.begin() as session:
        user = accounts.find_user(session, email_of_user)
        found = accounts.list_tokens(session, user)
        note_reading(session, Action.USER_VIEW, thing=("user", str(user.id)), details={"shown": "tokens"})
    described = [_described_token(token) for token in found]
    if as_json:
        print_json({"tokens": described})
        return
    table = Table("id", "name", "scopes", "ends", "last used", "revoked", box=None)
    for one in described:
        times = (one["expires_at"], one["last_used_at"], one["revoked_at"])
        table.add_row(
            one["id"], escape(one["name"]), " ".join(one["scopes"]), *(time or "" for time in times)
        )
    Console().print(table)


@users.command()
@click.argument("token_id", metavar="TOKEN_ID", type=click.UUID)
@_ACTING
@AS_JSON
def revoke(token_id: UUID, email: str | None, as_json: bool) -> None:
    """End a token for good."""
    with connected() as (_, sessions), sessions.begin() as session:
        found = session.get(ApiToken, token_id)
        if found is None:
            raise NotFound(f"There is no token {token_id}")
        accounts.revoke_token(session, found, actor=_acting(session, email))
        described = _described_token(found)
    _report(described, f"{token_id} is revoked.", as_json)


def _acting(session: Session, email: str | None) -> Actor:
    return THE_COMMAND_LINE if email is None else actor_of(person(session, email, ADMINISTRATOR))


def _password(from_stdin: bool, generate: bool) -> str:
    if generate:
        return secrets.token_urlsafe(16)
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))


def _salt(settings: Settings) -> str:
    if settings.password_salt is None:
        raise ConfigurationError("Passwords need DERMABATCH_PASSWORD_SALT, which is not set.")
    return settings.password_salt.get_secret_value()


def _described(user: User) -> dict[str, Any]:
    return {
        "id": str(user.id),
        "email": user.email,
        "name": user.name,
        "department": user.department.name,
        "roles": sorted(role.name for role in user.roles),
        "service": user.service,
        "active": user.active,
    }


def _described_token(token: ApiToken) -> dict[str, Any]:
    times = ("created_at", "expires_at", "last_used_at", "revoked_at")
    return {
        "id": str(token.id),
        "name": token.name,
        "scopes": token.scopes,
        **{name: (moment := getattr(token, name)) and moment.isoformat() for name in times},
    }


def _report(described: dict[str, Any], sentence: str, as_json: bool) -> None:
    if as_json:
        print_json(described)
    else:
        click.echo(sentence)
