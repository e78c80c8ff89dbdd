"""Signing in and out: Flask-Security over `People`, and an audit event for each attempt."""

from datetime import timedelta
from typing import Any, cast

from flask import Flask, current_app, session
from flask_login import current_user, user_logged_out
from flask_security import LoginForm, MailUtil, Security, user_authenticated

from dermabatch.accounts import MIN_PASSWORD_LENGTH
from dermabatch.audit import Action, Outcome
from dermabatch.database import Sessions
from webui.audited import note
from webui.people import People, Person
from webui.portal import portal


def install(app: Flask, sessions: Sessions) -> None:
    """Let people sign in at /sign-in and out at /sign-out."""
    app.config.update(
        SECURITY_PASSWORD_HASH="argon2",  # noqa: S106 - a scheme, not a password
        SECURITY_PASSWORD_SCHEMES=["argon2"],
        SECURITY_DEPRECATED_PASSWORD_SCHEMES=[],
        SECURITY_PASSWORD_LENGTH_MIN=MIN_PASSWORD_LENGTH,
        SECURITY_LOGIN_URL="/sign-in",
        SECURITY_LOGOUT_URL="/sign-out",
        SECURITY_POST_LOGIN_VIEW="/",
        SECURITY_POST_LOGOUT_VIEW="/sign-in",
        SECURITY_LOGIN_USER_TEMPLATE="sign_in.html",
        # Whether an address has an account is nobody's business.
        SECURITY_RETURN_GENERIC_RESPONSES=True,
        SECURITY_FLASH_MESSAGES=False,
        SECURITY_MSG_GENERIC_AUTHN_FAILED=("The address or the password is not right.", "error"),
        # No page of the portal asks for the password again, so that none needs Flask-Security's view for it.
        SECURITY_FRESHNESS=timedelta(minutes=-1),
        # Tokens of our own (`dermabatch.accounts`) serve programs.
        SECURITY_API_ENABLED_METHODS=["session"],
    )
    Security(app, People(sessions), login_form=SignInForm, mail_util_cls=Addresses)
    user_authenticated.connect(_signed_in, app)
    user_logged_out.connect(_signed_out, app)


def people() -> People:
    """Where the persons of the present application are kept."""
    return cast(People, current_app.extensions["security"].datastore)


def signed_in_person() -> Person | None:
    """Who asks, if they have signed in."""
    return cast(Person, current_user._get_current_object()) if current_user.is_authenticated else None


class Addresses(MailUtil):
    """Takes an address for what it is here: a name that `dermabatch.accounts` has accepted.

    The rules of public mail refuse what hospitals use inside, such as `nurse@ward.local`.
    """

    def normalize(self, email: str) -> str:
        """The one spelling that is stored."""
        return email.strip().lower()


class SignInForm(LoginForm):
    """Flask-Security's form; a refused attempt leaves an audit event."""

    def validate(self, **kwargs: Any) -> bool:
        """Whether address and password fit an active person."""
        # Nobody stays signed in on a ward's computer.
        self.remember.data = False
        accepted = bool(super().validate(**kwargs))
        if not accepted and self.password.data:
            _note(Action.SESSION_REFUSED, Outcome.REFUSED, cast(Person | None, self.user))
        return accepted


def _signed_in(_app: Flask, user: Person, authn_via: list[str], **_: object) -> None:
    session.permanent = True
    if authn_via == ["password"]:  # and not after a change of password
        people().signed_in(user)
        _note(Action.SESSION_SIGN_IN, Outcome.SUCCESS, user)


def _signed_out(_app: Flask, user: Person, **_: object) -> None:
    if user is not None and user.is_authenticated:
        _note(Action.SESSION_SIGN_OUT, Outcome.SUCCESS, user)


def _note(action: Action, outcome: Outcome, person: Person | None) -> None:
    with portal().sessions.begin() as transaction:
        note(transaction, action, outcome, person=person)
