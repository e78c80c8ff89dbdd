"""Signing in: address and password, then the code of the second factor; and out again."""

from http import HTTPStatus
from math import ceil

from flask import Blueprint, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from dermabatch import accounts
from dermabatch.accounts import second_factor
from dermabatch.accounts.tables import WebSession
from dermabatch.errors import SignInRefused, TooManyGuesses
from webui.addresses import path_here
from webui.audited import actor_of
from webui.portal import portal
from webui.security import limiter
from webui.signing_in import begin_stay, leave_stay, origin, rules, signed_in_person, stay

blueprint = Blueprint("sign_in", __name__)

_ATTEMPTS = limiter.limit("300 per minute", key_func=lambda: origin().address)
"""Only against floods: hashing a password costs 50 ms of a core. Guesses are counted by `dermabatch.accounts`."""


@blueprint.get("/sign-in")
def form() -> ResponseReturnValue:
    """Ask for address and password."""
    if signed_in_person() is not None:
        return redirect(_wanted_page())
    return render_template("sign_in.html")


@blueprint.post("/sign-in")
@_ATTEMPTS
def check_password() -> ResponseReturnValue:
    """Go on to the page that was wanted, or to the second factor."""
    email = request.form.get("email", "")
    try:
        opened = accounts.sign_in(
            portal().sessions,
            rules(),
            email=email,
            password=request.form.get("password", ""),
            origin=origin(),
            actor=actor_of(None),
        )
    except (SignInRefused, TooManyGuesses) as refusal:
        return _asked_again("sign_in.html", refusal, email=email)
    target = _wanted_page() if opened.complete else url_for("sign_in.code", next=request.args.get("next"))
    begin_stay(opened)
    return redirect(target)


@blueprint.get("/sign-in/code")
def code() -> ResponseReturnValue:
    """Ask for the second factor; whoever has to have one and has none sets it up first."""
    found = _half_way()
    if found is None:
        return redirect(url_for("sign_in.form", next=request.args.get("next")))
    with portal().sessions.begin() as session:
        if not second_factor.is_enrolled(session, found.user_id):
            return redirect(url_for("second_factor.show", next=request.args.get("next")))
    return render_template("sign_in_code.html")


@blueprint.post("/sign-in/code")
@_ATTEMPTS
def check_code() -> ResponseReturnValue:
    """Go on to the page that was wanted."""
    found = _half_way()
    if found is None:
        return redirect(url_for("sign_in.form", next=request.args.get("next")))
    try:
        opened = accounts.give_code(
            portal().sessions,
            rules(),
            found,
            code=request.form.get("code", ""),
            origin=origin(),
            actor=actor_of(None),
        )
    except (SignInRefused, TooManyGuesses) as refusal:
        return _asked_again("sign_in_code.html", refusal)
    begin_stay(opened)
    return redirect(_wanted_page())


@blueprint.post("/sign-out")
def out() -> ResponseReturnValue:
    """End the stay in this browser."""
    found = stay()
    person = signed_in_person()
    if found is not None and person is not None:
        with portal().sessions.begin() as session:
            accounts.end_session(session, found, actor=actor_of(person), signed_out=True)
    leave_stay()
    return redirect(url_for("sign_in.form"))


def _half_way() -> WebSession | None:
    found = stay()
    return found if found is not None and not found.complete else None


def _asked_again(template: str, refusal: SignInRefused | TooManyGuesses, **shown: str) -> ResponseReturnValue:
    wait = refusal.wait if isinstance(refusal, TooManyGuesses) else None
    answer = make_response(render_template(template, refusal=refusal, wait=wait, **shown))
    if wait is not None:
        answer.status_code = HTTPStatus.TOO_MANY_REQUESTS
        answer.headers["Retry-After"] = str(ceil(wait.total_seconds()))
    return answer


def _wanted_page() -> str:
    """The path in the query string, if it leads to a page of this portal."""
    return path_here(request.args.get("next", ""))
