"""One's own account: password, sessions, tokens for programs."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_security import login_user, logout_user
from sqlalchemy.orm import Session

from dermabatch import accounts
from dermabatch.accounts import Scope
from dermabatch.errors import InvalidRequest, NotFound
from dermabatch.schema import ApiToken, User
from webui.access import only_for, person
from webui.audited import actor_of
from webui.portal import portal
from webui.security import limiter
from webui.signing_in import people

blueprint = Blueprint("account", __name__, url_prefix="/account")
only_for(blueprint)

TOKEN_DAYS = (30, 90, 365)


@blueprint.get("")
def show() -> str:
    """Who one is, and what may be changed."""
    return _page()


@blueprint.post("/password")
@limiter.limit("10 per minute")
def change_password() -> ResponseReturnValue:
    """Replace one's own password. Other sessions end; this one goes on."""
    form = request.form
    if not person().verify_and_update_password(form.get("current", "")):
        raise InvalidRequest("The present password is not right. Nothing was changed.")
    if form.get("new", "") != form.get("again", ""):
        raise InvalidRequest("The new password was not typed the same twice. Nothing was changed.")
    salt = portal().settings.password_salt
    assert salt is not None  # checked by `webui.security.configure`
    with portal().sessions.begin() as session:
        accounts.set_password(
            session,
            _own_row(session),
            form.get("new", ""),
            salt=salt.get_secret_value(),
            actor=actor_of(person()),
        )
    changed = people().find_user(email=person().email)
    assert changed is not None  # it is who asks
    login_user(changed, authn_via=["change"])
    flash("Your password is changed. Other sessions of yours have ended.")
    return redirect(url_for("account.show"))


@blueprint.post("/sign-out-everywhere")
def sign_out_everywhere() -> ResponseReturnValue:
    """End every session of one's own, on every device."""
    people().end_sessions(person())
    # Leaves the event of signing out.
    logout_user()
    return redirect(url_for("security.login"))


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
    scopes = [scope for scope in Scope if accounts.has_role(user, *accounts.ROLES_FOR_SCOPE[scope])]
    return render_template(
        "account.html",
        user=user,
        tokens=tokens,
        scopes=scopes,
        token_days=TOKEN_DAYS,
        secret=secret,
        now=datetime.now(UTC),
        shortest_password=accounts.MIN_PASSWORD_LENGTH,
    )


def _own_row(session: Session) -> User:
    return session.get_one(User, person().id)
