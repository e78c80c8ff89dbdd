"""What commands on the audit trail begin with: a session that sees all of it, and a bar that shows how far it is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from sqlalchemy.orm import Session

from cli.acting import THE_COMMAND_LINE, actor_of, connected, person
from dermabatch import audit as trail
from dermabatch.accounts import ADMINISTRATOR
from dermabatch.audit import Action, Actor, Event, Outcome
from dermabatch.objects import S3ObjectStore
from dermabatch.settings import Settings


@dataclass(frozen=True, slots=True)
class Auditor:
    """Who asks, and what they ask with: a transaction that sees every department."""

    actor: Actor
    session: Session
    settings: Settings

    @property
    def store(self) -> S3ObjectStore:
        return S3ObjectStore.from_settings(self.settings)

    def note(self, action: Action, outcome: Outcome = Outcome.SUCCESS, **details: trail.JSON) -> None:
        event = Event(action, outcome, actor=self.actor, object_type="audit", details=details)
        trail.append(self.session, event)


@contextmanager
def opened_by(email: str | None) -> Iterator[Auditor]:
    """The trail, for an administrator, or for the command line where nobody is named."""
    with connected() as (settings, sessions), sessions.begin(auditor=True) as session:
        actor = actor_of(person(session, email, ADMINISTRATOR)) if email else THE_COMMAND_LINE
        yield Auditor(actor, session, settings)


@contextmanager
def progress_bar() -> Iterator[Callable[[int], None]]:
    """Shows on standard error how many events were walked."""
    columns = (SpinnerColumn(), TextColumn("{task.completed:,} events"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda events: bar.update(task, completed=events)
