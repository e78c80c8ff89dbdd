"""Who may see what: a guard in front of each blueprint, and the department's window on the database."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from flask import Blueprint, make_response, redirect, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from dermabatch.audit import Action, Outcome
from dermabatch.errors import NotAllowed
from webui.audited import note
from webui.people import Person
from webui.portal import portal
from webui.signing_in import signed_in_person


def person() -> Person:
    """Who asks; for views behind `only_for`."""
    asker = signed_in_person()
    assert asker is not None
    return asker


def department_session() -> AbstractContextManager[Session]:
    """A transaction that sees the work of the asker's department and nothing else."""
    return portal().sessions.begin(department=person().department_id)


def auditor_session() -> AbstractContextManager[Session]:
    """As `department_session`, and sees the audit events of every department; for administrators."""
    return portal().sessions.begin(department=person().department_id, auditor=True)


def only_for(blueprint: Blueprint, *roles: str) -> None:
    """Let people with one of these roles into a blueprint; without roles, everybody who has signed in."""
    blueprint.before_request(guard(*roles))


def guard(*roles: str) -> Callable[[], ResponseReturnValue | None]:
    """A check to run before a view: asks the unknown to sign in and refuses who lacks every one of the roles."""

    def check() -> ResponseReturnValue | None:
        asker = signed_in_person()
        if asker is None:
            return _ask_to_sign_in()
        if roles and not any(asker.has_role(role) for role in roles):
            _note_refusal(asker)
            raise NotAllowed(
                f"This is for the role {' or '.join(roles)}, which you do not have."
                " An administrator can give it to you."
            )
        return None

    return check


def _ask_to_sign_in() -> ResponseReturnValue:
    here = request.full_path.rstrip("?") if request.method == "GET" else "/"
    if request.headers.get("HX-Request"):
        # A fragment is no place for a sign-in form: the page that asked goes there as a whole.
        answer = make_response("", 401)
        answer.headers["HX-Refresh"] = "true"
        return answer
    return redirect(url_for("sign_in.form", next=here))


def _note_refusal(asker: Person) -> None:
    with portal().sessions.begin() as session:
        note(
            session,
            Action.ACCESS_REFUSED,
            Outcome.REFUSED,
            person=asker,
            details={"route": request.url_rule.rule if request.url_rule else None, "method": request.method},
        )
