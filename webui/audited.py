"""Audit events of the portal: who asks, from where, within which request."""

from uuid import UUID

from flask import g, has_request_context, request
from sqlalchemy.orm import Session

from dermabatch.audit import Action, Actor, ActorKind, Details, Event, Outcome, append, tell_of_commits
from dermabatch.database import Sessions
from webui.people import Person
from webui.tracing import request_id


def install(sessions: Sessions) -> None:
    """Remember of each request whether the trail has it."""
    tell_of_commits(sessions, _remember)


def is_in_the_trail() -> bool:
    """Whether the present request has left an event."""
    return "is_in_the_trail" in g


def _remember(_events: int) -> None:
    if has_request_context():
        g.is_in_the_trail = True


def actor_of(person: Person | None) -> Actor:
    """This person in the present request; nobody known without one."""
    source = request.remote_addr or "unknown"
    if person is None:
        return Actor(None, ActorKind.ANONYMOUS, source, request_id())
    return Actor(person.id, ActorKind.PERSON, source, request_id())


def note(
    session: Session,
    action: Action,
    outcome: Outcome = Outcome.SUCCESS,
    *,
    person: Person | None,
    thing: tuple[str, UUID | str] | None = None,
    details: Details | None = None,
) -> None:
    """Append the one event of an action, in the transaction of the deed.

    Args:
        session: commits the deed and the event together.
        action: what was done.
        outcome: how it ended.
        person: who did it; None for somebody unknown.
        thing: type and id of what it was done to.
        details: ids and counts; never a name, a number of a patient or content.
    """
    object_type, object_id = thing or (None, None)
    append(
        session,
        Event(
            action,
            outcome,
            actor=actor_of(person),
            department_id=person.department_id if person else None,
            object_type=object_type,
            object_id=str(object_id) if object_id else None,
            details=details or {},
        ),
    )
