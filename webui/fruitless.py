"""Requests that come to nothing are in the trail as well: who asked for what there is not, or may not be, or failed.

A view notes what it does, in the transaction of the deed. Where an answer says that nothing was done, and no event has
said why, one is left here.
"""

from http import HTTPStatus
from typing import Final
from uuid import UUID

import structlog
from flask import Flask, Response, g, request
from sqlalchemy.exc import SQLAlchemyError

from dermabatch.accounts import actor_for
from dermabatch.audit import Action, Actor, Event, Outcome, append
from dermabatch.errors import DatabaseUnavailable, DermabatchError
from webui.audited import actor_of, is_in_the_trail
from webui.errors import code_of_problem
from webui.people import Person
from webui.portal import portal
from webui.signing_in import stay
from webui.tracing import request_id

log = structlog.get_logger(__name__)

_UNTOLD: Final = (HTTPStatus.TOO_MANY_REQUESTS,)
"""A flood is held back before anything is looked at, and must not become a flood of events."""


def install(app: Flask) -> None:
    """Look at every answer."""
    app.after_request(_leave_an_event)


def _leave_an_event(answer: Response) -> Response:
    if answer.status_code < HTTPStatus.BAD_REQUEST or answer.status_code in _UNTOLD:
        return answer
    if (
        request.endpoint in (None, "static")
        or is_in_the_trail()
        or code_of_problem() == DatabaseUnavailable.code
    ):
        return answer
    try:
        _note(answer.status_code)
    except (DermabatchError, SQLAlchemyError) as error:
        # The answer shows nothing of anybody; it stands.
        log.warning("request_not_noted", error_type=type(error).__name__)
    return answer


def _note(status: int) -> None:
    asker = _asker()
    if asker is None:
        return
    actor, department_id = asker
    object_type, object_id = _thing()
    rule = request.url_rule.rule if request.url_rule else None
    ours = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    event = Event(
        Action.REQUEST_FAILED,
        Outcome.FAILED if ours else Outcome.REFUSED,
        actor=actor,
        department_id=department_id,
        object_type=object_type,
        object_id=object_id,
        details={"route": rule, "method": request.method, "status": status, "code": code_of_problem()},
    )
    with portal().sessions.begin() as session:
        append(session, event)


def _asker() -> tuple[Actor, UUID] | None:
    """Who asked and their department; None for somebody unknown, who was not shown past the door."""
    if token := g.get("api_token"):
        actor = actor_for(token.user, source=request.remote_addr or "unknown", request_id=request_id())
        return actor, token.user.department_id
    # A program shows a token; cookies do not count there.
    found = None if request.path.startswith("/api/") else stay()
    return (actor_of(Person.of(found.user, found.id)), found.user.department_id) if found else None


def _thing() -> tuple[str | None, str | None]:
    """What the address names, where that is an identifier of ours: anything else may be a name that somebody typed."""
    for name, value in (request.view_args or {}).items():
        if isinstance(value, UUID):
            return name.removesuffix("_id"), str(value)
    return None, None
