"""Parts of the hospital that see nothing of each other."""

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dermabatch import audit
from dermabatch.audit import Action, Actor, Event, Outcome
from dermabatch.errors import Conflict, NotFound
from dermabatch.schema import Department


def create_department(session: Session, name: str, *, actor: Actor) -> Department:
    """Add a department, which starts out empty and sees nobody else's work.

    Raises:
        Conflict: there is one of this name.
    """
    if session.scalar(sa.select(sa.exists().where(Department.name == name))):
        raise Conflict(f"Expected a new department. Received: {name}, which exists")
    department = Department(name=name)
    session.add(department)
    session.flush()
    audit.append(
        session,
        Event(
            Action.DEPARTMENT_CREATED,
            Outcome.SUCCESS,
            actor=actor,
            object_type="department",
            object_id=str(department.id),
        ),
    )
    return department


def find_department(session: Session, name: str | None = None) -> Department:
    """The department of this name; without a name the oldest one.

    Raises:
        NotFound: there is none.
    """
    query = sa.select(Department).order_by(Department.id).limit(1)
    if name is not None:
        query = query.where(Department.name == name)
    department = session.scalar(query)
    if department is None:
        raise NotFound(f"There is no department {name}" if name else "There is no department yet")
    return department
