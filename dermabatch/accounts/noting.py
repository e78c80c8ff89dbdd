"""The audit event of a deed that concerns one user."""

from uuid import UUID

from sqlalchemy.orm import Session

from dermabatch import audit
from dermabatch.audit import Action, Actor, Details, Event, Outcome
from dermabatch.schema import User


def note(
    session: Session,
    action: Action,
    user: User,
    *,
    actor: Actor,
    outcome: Outcome = Outcome.SUCCESS,
    thing: tuple[str, UUID] | None = None,
    details: Details | None = None,
) -> None:
    """Append the one event of a deed, in its transaction.

    Args:
        user: whom the deed concerns; in their department the event belongs.
        thing: type and id of what was changed; the user where not given.
    """
    object_type, object_id = thing or ("user", user.id)
    audit.append(
        session,
        Event(
            action,
            outcome,
            actor=actor,
            department_id=user.department_id,
            object_type=object_type,
            object_id=str(object_id),
            details={"user": str(user.id), **(details or {})},
        ),
    )
