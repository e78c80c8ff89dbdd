"""One's own account: password, sessions, tokens for programs. The second factor has a page of its own."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from dermabatch import accounts
from dermabatch.accounts import Scope, second_factor
from dermabatch.errors import InvalidRequest, NotFound
from dermabatch.schema import ApiToken, User
from webui.access import person
from webui.audited import actor_of
from webui.portal import portal
from webui.signing_in import begin_stay, confirm_password, leave_stay, origin, rules

blueprint = Blueprint("account", __name__, url_prefix="/account")

TOKEN_DAYS = (30, 90, 365)


@blueprint.get("")
def show() -> str:
    """Who one is, and what may be changed."""
    return _page()


@blueprint.post("/password")
def change_password() -> ResponseReturnValue:
    """Replace one's own password. Every stay ends; in this browser a new one begins."""
    form = request.form
    confirm_password(form.get("current", ""))
    if form.get("new", "") != form.get("again", ""):
        raise InvalidRequest("The new password was not typed the same twice. Nothing was changed.")
    with portal().sessions.begin() as session:
        user = _own_row(session)
        accounts.set_password(session, user, form.get("new", ""), salt=rules().salt, actor=actor_of(person()))
        opened = accounts.renew(session, rules(), user, origin=origin())
    begin_stay(opened)
    flash("Your password is changed. Other sessions of yours have ended.")
    return redirect(url_for("account.show"))


@blueprint.post("/sign-out-everywhere")
def sign_out_everywhere() -> ResponseReturnValue:
    """End every session of one's own, on every device."""
    with portal().sessions.begin() as session:
        accounts.end_sessions(session, _own_row(session), actor=actor_of(person()))
    leave_stay()
    return redirect(url_for("sign_in.form"))


@blueprint.post("/sessions/<uuid:session_id>/end")
def end_session(session_id: UUID) -> ResponseReturnValue:
    """End one's own session in another browser."""
    with portal().sessions.begin() as session:
        own = accounts.list_sessions(session, person().id, limits=rules().limits)
        chosen = next((found for found in own if found.id == session_id), None)
        if chosen is None:
            raise NotFound(f"You have no session {session_id}")
        accounts.end_session(session, chosen, actor=actor_of(person()), signed_out=False)
    return redirect(url_for("account.show"))


@blueprint.post("/tokens")
def create_token() -> ResponseReturnValue:
    """Make a token and show its secret, this once."""
    form = request.form
    days = form.get("days", type=int)
    with portal().sessions.begin() as session:
        secret = accounts.create_token(
            session,
            _own_row(session),
            name=form.get("name", "").strip() or "Unnamed",
            scopes=[scope for scope in Scope if scope in form.getlist("scopes")],
            expires_at=datetime.now(UTC) + timedelta(days=days) if days in TOKEN_DAYS else None,
            actor=actor_of(person()),
        )
    return _page(secret=secret)


@blueprint.post("/tokens/<uuid:token_id>/revoke")
def revoke_token(token_id: UUID) -> ResponseReturnValue:
    """End a token for good."""
    with portal().sessions.begin() as session:
        token = session.get(ApiToken, token_id)
        if token is None or token.user_id != person().id:
            raise NotFound(f"You have no token {token_id}")
        accounts.revoke_token(session, token, actor=actor_of(person()))
    return redirect(url_for("account.show"))


def _page(secret: str | None = None) -> str:
    with portal().sessions.begin() as session:
        user = _own_row(session)
        tokens = accounts.list_tokens(session, user)
        sessions = accounts.list_sessions(session, user.id, limits=rules().limits)
        enrolled = second_factor.is_enrolled(session, user.id)
    scopes = [scope for scope in Scope if accounts.has_role(user, *accounts.ROLES_FOR_SCOPE[scope])]
    return render_template(
        "account.html",
        user=user,
        tokens=tokens,
        sessions=sessions,
        enrolled=enrolled,
        scopes=scopes,
        token_days=TOKEN_DAYS,
        secret=secret,
        now=datetime.now(UTC),
        shortest_password=accounts.MIN_PASSWORD_LENGTH,
    )


def _own_row(session: Session) -> User:
    return session.get_one(User, person().id)
