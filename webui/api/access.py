"""Who calls: the token of a request, its scopes, and the transactions in which it may look."""

from contextlib import AbstractContextManager
from typing import Any, Final
from uuid import UUID

from flask import Response, g, request
from flask_smorest import Blueprint
from sqlalchemy.orm import Session

from dermabatch import accounts
from dermabatch.accounts import ROLES_FOR_SCOPE, Scope
from dermabatch.audit import Action, Actor, ActorKind, Details, Event, Outcome, append
from dermabatch.errors import NotAllowed
from dermabatch.schema import ApiToken, User
from webui.errors import problem
from webui.policy import POLICY, Programs
from webui.portal import portal
from webui.security import csrf
from webui.tracing import request_id

BEARER: Final = "token"
"""Name of the security scheme in the OpenAPI document."""


class _Resource(Blueprint):  # type: ignore[misc]
    """Says in the OpenAPI document of each route what the policy says of it."""

    def add_url_rule(
        self, rule: str, endpoint: str | None = None, view_func: Any = None, **options: Any
    ) -> None:
        allowed = POLICY[f"{self.name}.{endpoint or view_func.__name__}"]
        assert isinstance(allowed, Programs)
        scopes = [allowed.scope.value] if allowed.scope else []
        super().add_url_rule(rule, endpoint, self.doc(security=[{BEARER: scopes}])(view_func), **options)


def resource(name: str, path: str, about: str) -> Blueprint:
    """A part of the API below /api/v1, whose views look at no cookie.

    Args:
        name: heads it in the document; with a capital letter, as the pages' blueprints have none.
    """
    blueprint = _Resource(name, __name__, url_prefix=f"/api/v1{path}", description=about)
    # No other site can make a browser show a token.
    csrf.exempt(blueprint)
    return blueprint


def check_token(rule: Programs) -> Response | None:
    """None for a token that may pass, an answer that asks for one where there is none.

    Raises:
        NotAllowed: the token lacks the scope, or its owner the role for it.
    """
    refusal = _authenticate()
    if refusal is None and rule.scope is not None:
        _demand(rule.scope)
    return refusal


def caller() -> User:
    """The owner of the token."""
    return _token().user


def actor() -> Actor:
    """The caller as the audit trail names them."""
    return accounts.actor_for(caller(), source=_source(), request_id=request_id())


def department_session() -> AbstractContextManager[Session]:
    """A transaction that sees the work of the caller's department and nothing else."""
    return portal().sessions.begin(department=caller().department_id)


def auditor_session() -> AbstractContextManager[Session]:
    """A transaction that sees the audit events of every department. Only for views behind `audit:read`."""
    return portal().sessions.begin(auditor=True)


def note(
    session: Session,
    action: Action,
    outcome: Outcome = Outcome.SUCCESS,
    *,
    thing: tuple[str, UUID | str] | None = None,
    details: Details | None = None,
) -> None:
    """Append the one event of a call, in the transaction of the deed.

    Args:
        outcome: how it ended.
        thing: type and id of what it was done to.
        details: ids and counts; never a name, a number of a patient or content.
    """
    object_type, object_id = thing or (None, None)
    append(
        session,
        Event(
            action,
            outcome,
            actor=actor(),
            department_id=caller().department_id,
            object_type=object_type,
            object_id=str(object_id) if object_id else None,
            details=details or {},
        ),
    )


def token_scopes() -> list[Scope]:
    """What the token of this request may be used for, now."""
    return [scope for scope in Scope if accounts.may_use(_token(), scope)]


def _authenticate() -> Response | None:
    """Find the token, or answer 401."""
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and secret:
        with portal().sessions.begin() as session:
            g.api_token = accounts.authenticate(session, secret.strip())
            if g.api_token is not None:
                return None
            _note_refusal(session, None, {"reason": "unknown, ended or revoked token"})
    answer = problem(
        401, "not_authenticated", "Expected the header Authorization: Bearer, and a valid token in it."
    )
    answer.headers["WWW-Authenticate"] = 'Bearer realm="dermabatch"'
    return answer


def _demand(scope: Scope) -> None:
    if accounts.may_use(_token(), scope):
        return
    with portal().sessions.begin() as session:
        _note_refusal(session, caller(), {"missing_scope": scope.value})
    roles = " or ".join(sorted(ROLES_FOR_SCOPE[scope]))
    raise NotAllowed(f"Expected a token with the scope {scope}, of a person with the role {roles}.")


def _note_refusal(session: Session, user: User | None, details: Details) -> None:
    anonymous = Actor(None, ActorKind.ANONYMOUS, _source(), request_id())
    rule = request.url_rule.rule if request.url_rule else None
    append(
        session,
        Event(
            Action.ACCESS_REFUSED,
            Outcome.REFUSED,
            actor=actor() if user else anonymous,
            department_id=user.department_id if user else None,
            details={"route": rule, "method": request.method, **details},
        ),
    )


def _token() -> ApiToken:
    token: ApiToken = g.api_token
    return token


def _source() -> str:
    return request.remote_addr or "unknown"
