"""`dermabatch cancel` and `dermabatch retry`."""

from collections.abc import Callable
from contextlib import closing
from typing import Final
from uuid import UUID

import click

from cli.acting import AS_JSON, acting_user, actor_of, connected, person, print_json
from dermabatch.accounts import STAFF
from dermabatch.database import Sessions
from dermabatch.ledger import cancel_batch, retry_batch
from dermabatch.queue import WakeUp

_BATCH: Final = click.argument("batch", type=click.UUID)
_USER: Final = acting_user(required=True, help="Who decides; a member of staff.")

_Decision = Callable[..., int]


@click.command()
@_BATCH
@_USER
@AS_JSON
def cancel(batch: UUID, email: str, as_json: bool) -> None:
    """Stop what has not been classified yet; what was, stays."""
    with connected() as (_, sessions):
        images = _decide(sessions, email, cancel_batch, batch)
    if as_json:
        print_json({"batch": batch, "cancelled": images})
    else:
        click.echo(f"{images} images cancelled.")


@click.command()
@_BATCH
@_USER
@AS_JSON
def retry(batch: UUID, email: str, as_json: bool) -> None:
    """Work on the failed images again."""
    with connected() as (settings, sessions):
        images = _decide(sessions, email, retry_batch, batch)
        with closing(WakeUp(settings)) as wake_up:
            wake_up.send(images)
    if as_json:
        print_json({"batch": batch, "retried": images})
    else:
        click.echo(f"{images} failed images will be tried again.")


def _decide(sessions: Sessions, email: str, decision: _Decision, batch_id: UUID) -> int:
    with sessions.begin() as session:
        user = person(session, email, STAFF)
    with sessions.begin(department=user.department_id) as session:
        return decision(session, batch_id, actor=actor_of(user))
