"""Who asks with a browser: whether they may pass, and the windows on the database through which views look."""

from contextlib import AbstractContextManager

from flask import make_response, redirect, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from dermabatch.accounts import second_factor
from dermabatch.accounts.tables import WebSession
from dermabatch.audit import Action, Outcome
from dermabatch.errors import NotAllowed
from webui.audited import note
from webui.people import Person
from webui.policy import People
from webui.portal import portal
from webui.signing_in import signed_in_person, stay


def person() -> Person:
    """Who asks; for views that the policy opens to `People`."""
    asker = signed_in_person()
    assert asker is not None
    return asker


def department_session() -> AbstractContextManager[Session]:
    """A transaction that sees the work of the asker's department and nothing else."""
    return portal().sessions.begin(department=person().department_id)


def auditor_session() -> AbstractContextManager[Session]:
    """As `department_session`, and sees the audit events of every department; for administrators."""
    return portal().sessions.begin(department=person().department_id, auditor=True)


def check_person(rule: People) -> ResponseReturnValue | None:
    """None for who may pass; an answer that asks to sign in for who is unknown.

    Raises:
        NotAllowed: the person has none of the roles.
    """
    found = stay()
    if rule.enrolling and found is not None and not found.complete:
        return _ask_for_the_code_that_there_is(found)
    asker = signed_in_person()
    if asker is None:
        return _ask_to_sign_in()
    if rule.roles and not any(asker.has_role(role) for role in rule.roles):
        _note_refusal(asker)
        raise NotAllowed(
            f"This is for the role {' or '.join(rule.roles)}, which you do not have."
            " An administrator can give it to you."
        )
    return None


def _ask_for_the_code_that_there_is(half_way: WebSession) -> ResponseReturnValue | None:
    """Who has a second factor already cannot sign in by setting up another one."""
    with portal().sessions.begin() as session:
        enrolled = second_factor.is_enrolled(session, half_way.user_id)
    return redirect(url_for("sign_in.code", next=request.args.get("next"))) if enrolled else None


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
