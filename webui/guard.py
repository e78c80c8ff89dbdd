"""The one check in front of every view: `webui.policy` says who may pass."""

from typing import assert_never

from flask import Flask, request
from flask.typing import ResponseReturnValue

from dermabatch.errors import InvalidRequest
from webui import access, policy
from webui.api import access as api_access
from webui.policy import BRING_FILES, POLICY, Everybody, People, Programs, Rule
from webui.portal import portal
from webui.security import csrf
from webui.spool import admit_upload


def install(app: Flask) -> None:
    """Guard every route that the application has by now.

    Raises:
        RuntimeError: a route has no line in the policy, or a line no route.
    """
    policy.demand_complete(app.view_functions)
    app.before_request(_guard)
    # It reads the whole body in search of a form's token: only of who may bring one, and as large as they may.
    csrf.init_app(app)
    app.before_request(_refuse_what_cannot_be_stored)


def _guard() -> ResponseReturnValue | None:
    if request.endpoint is None:
        return None  # there is no such route, which Flask says by itself
    refusal = _refusal(POLICY[request.endpoint])
    if refusal is None and request.endpoint in BRING_FILES:
        admit_upload(portal().settings)
    return refusal


def _refuse_what_cannot_be_stored() -> None:
    given = [request.args] if request.endpoint in BRING_FILES else [request.args, request.form]
    texts = [text for values in given for _, listed in values.lists() for text in listed]
    # PostgreSQL has no NUL, and nobody types one.
    if any("\0" in text for text in (request.path, *texts)):
        raise InvalidRequest("Expected text. Received: text with a NUL in it.")


def _refusal(rule: Rule) -> ResponseReturnValue | None:
    match rule:
        case Everybody():
            return None
        case People():
            return access.check_person(rule)
        case Programs():
            return api_access.check_token(rule)
        case _:
            assert_never(rule)
