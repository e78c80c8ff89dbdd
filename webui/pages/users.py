"""People: who may sign in, and as what."""

from uuid import UUID

import sqlalchemy as sa
from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from dermabatch import accounts
from dermabatch.accounts import ADMINISTRATOR, ROLES, second_factor
from dermabatch.audit import Action
from dermabatch.errors import Conflict, NotFound
from dermabatch.schema import Department, User
from webui.access import person
from webui.audited import actor_of, note
from webui.portal import portal
from webui.signing_in import rules

blueprint = Blueprint("users", __name__, url_prefix="/users")


@blueprint.get("")
def index() -> str:
    """Everybody, people and services."""
    with portal().sessions.begin() as session:
        users = accounts.list_users(session)
        departments = session.scalars(sa.select(Department).order_by(Department.name)).all()
        enrolled = second_factor.enrolled(session)
        note(session, Action.USER_VIEW, person=person(), details={"list": [str(user.id) for user in users]})
    return render_template("users.html", users=users, departments=departments, roles=ROLES, enrolled=enrolled)


@blueprint.post("")
def create() -> ResponseReturnValue:
    """Add a person who can sign in."""
    form = request.form
    with portal().sessions.begin() as session:
        accounts.create_user(
            session,
            email=form.get("email", ""),
            name=form.get("name", "").strip(),
            password=form.get("password", ""),
            roles=form.getlist("roles"),
            department=accounts.find_department(session, form.get("department", "")),
            salt=rules().salt,
            actor=actor_of(person()),
        )
    return redirect(url_for("users.index"))


@blueprint.post("/<uuid:user_id>/roles")
def set_roles(user_id: UUID) -> ResponseReturnValue:
    """Give somebody exactly the roles that are ticked."""
    with portal().sessions.begin() as session:
        user = _find(session, user_id)
        roles = request.form.getlist("roles")
        if user.id == person().id and ADMINISTRATOR not in roles:
            raise Conflict(
                "Another administrator has to take this role from you, so that one always remains."
            )
        accounts.set_roles(session, user, roles, actor=actor_of(person()))
    return redirect(url_for("users.index"))


@blueprint.post("/<uuid:user_id>/password")
def set_password(user_id: UUID) -> ResponseReturnValue:
    """Give somebody a new password; their sessions end."""
    with portal().sessions.begin() as session:
        accounts.set_password(
            session,
            _find(session, user_id),
            request.form.get("password", ""),
            salt=rules().salt,
            actor=actor_of(person()),
        )
    return redirect(url_for("users.index"))


@blueprint.post("/<uuid:user_id>/disable")
def disable(user_id: UUID) -> ResponseReturnValue:
    """Shut somebody out."""
    if user_id == person().id:
        raise Conflict("Another administrator has to disable your account, so that one always remains.")
    with portal().sessions.begin() as session:
        accounts.disable(session, _find(session, user_id), actor=actor_of(person()))
    return redirect(url_for("users.index"))


@blueprint.post("/<uuid:user_id>/enable")
def enable(user_id: UUID) -> ResponseReturnValue:
    """Let somebody in again."""
    with portal().sessions.begin() as session:
        accounts.enable(session, _find(session, user_id), actor=actor_of(person()))
    return redirect(url_for("users.index"))


@blueprint.post("/<uuid:user_id>/sign-out")
def sign_out(user_id: UUID) -> ResponseReturnValue:
    """End somebody's sessions, in every browser."""
    with portal().sessions.begin() as session:
        accounts.end_sessions(session, _find(session, user_id), actor=actor_of(person()))
    return redirect(url_for("users.index"))


@blueprint.post("/<uuid:user_id>/second-factor/reset")
def reset_second_factor(user_id: UUID) -> ResponseReturnValue:
    """Let somebody in who lost their authenticator; their sessions end."""
    if user_id == person().id:
        raise Conflict("Remove your own second factor under your account, or ask another administrator.")
    with portal().sessions.begin() as session:
        accounts.reset_second_factor(session, _find(session, user_id), actor=actor_of(person()))
    return redirect(url_for("users.index"))


@blueprint.post("/<uuid:user_id>/forget-guesses")
def forget_guesses(user_id: UUID) -> ResponseReturnValue:
    """Let somebody try again at once who was held back by wrong passwords."""
    with portal().sessions.begin() as session:
        limit = accounts.GuessLimit(rules().salt)
        accounts.forget_guesses(session, _find(session, user_id), limit, actor=actor_of(person()))
    return redirect(url_for("users.index"))


def _find(session: Session, user_id: UUID) -> User:
    user = session.get(User, user_id)
    if user is None:
        raise NotFound(f"There is no user {user_id}")
    return user
