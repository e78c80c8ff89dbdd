"""What every installation has before the first person comes: one department, and the principals of programs."""

from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dermabatch.accounts.departments import create_department
from dermabatch.accounts.people import create_service
from dermabatch.audit import Actor, ActorKind
from dermabatch.database import Sessions
from dermabatch.schema import Department, User

INSTALLER: Final = "installer@service.invalid"
"""The service principal that publishes the shipped model, so that every person may be the second one."""

TRAINER: Final = "trainer@service.invalid"
"""The service principal that publishes what the training job has made. It activates nothing."""

NIGHT_RUN: Final = "night-run@service.invalid"
"""The service principal in whose name scheduled screenings take images in, for the department of their schedule."""

DEFAULT_DEPARTMENT: Final = "Dermatology"

_SERVICES: Final = {INSTALLER: "Installer", TRAINER: "Training job", NIGHT_RUN: "Night run"}

# Any number works; it must only be ours.
_BOOTSTRAP_LOCK: Final = 7_261_532_914


def bootstrap(sessions: Sessions, *, source: str) -> UUID:
    """Make what every installation needs. Safe to repeat.

    Returns:
        The id of the installer.
    """
    with sessions.begin() as session:
        # Two programs starting at once must not both find nothing.
        session.execute(sa.select(sa.func.pg_advisory_xact_lock(_BOOTSTRAP_LOCK)))
        query = sa.select(User.email, User.id).where(User.email.in_(_SERVICES))
        services = {email: user_id for email, user_id in session.execute(query)}
        actor = Actor(None, ActorKind.SERVICE, source)
        for email in _SERVICES.keys() - services.keys():
            services[email] = create_service(
                session,
                email=email,
                name=_SERVICES[email],
                department=_any_department(session, actor),
                actor=actor,
            ).id
        return services[INSTALLER]


def _any_department(session: Session, actor: Actor) -> Department:
    oldest = session.scalar(sa.select(Department).order_by(Department.id).limit(1))
    return oldest or create_department(session, DEFAULT_DEPARTMENT, actor=actor)
