"""The browser's side of `dermabatch.accounts`: two cookies, and who is behind them.

`sign-in` holds the token of a stay, `device` that of the browser itself. Flask's own cookie carries the token of forms
and messages for the next page, and opens nothing.
"""

from datetime import timedelta
from typing import Any, Final

from flask import Flask, Response, after_this_request, current_app, g, request, session

from dermabatch import accounts
from dermabatch.accounts import Opened, Origin, SignInRules
from dermabatch.accounts.devices import KNOWN_FOR
from dermabatch.accounts.passwords import hash_of_nobody
from dermabatch.accounts.tables import WebSession
from dermabatch.settings import Settings
from dermabatch.subjects import KeyRing
from webui.audited import actor_of
from webui.people import Person
from webui.portal import portal

_EXTENSION: Final = "dermabatch_sign_in_rules"
_STAY: Final = "SIGN_IN_COOKIE"
_DEVICE: Final = "DEVICE_COOKIE"


def install(app: Flask, settings: Settings, keyring: KeyRing) -> None:
    """Let requests know who asks."""
    app.extensions[_EXTENSION] = SignInRules.from_settings(settings, keyring)
    # `__Host-` cookies cannot be set from a sibling domain; browsers take them only over HTTPS.
    prefix = "" if settings.insecure_cookies else "__Host-"
    app.config.update({_STAY: f"{prefix}sign-in", _DEVICE: f"{prefix}device"})
    hash_of_nobody()


def rules() -> SignInRules:
    """What this installation demands of who signs in."""
    found: SignInRules = current_app.extensions[_EXTENSION]
    return found


def origin() -> Origin:
    """Where the present request comes from."""
    return Origin(
        address=request.remote_addr or "unknown",
        browser=request.user_agent.string,
        device=request.cookies.get(current_app.config[_DEVICE]),
    )


def stay() -> WebSession | None:
    """The stay of the present request, complete or half way."""
    if "stay" not in g:
        token = request.cookies.get(current_app.config[_STAY])
        g.stay = _find(token) if token else None
    found: WebSession | None = g.stay
    return found


def signed_in_person() -> Person | None:
    """Who asks, if they have signed in."""
    found = stay()
    return Person.of(found.user, found.id) if found is not None and found.complete else None


def confirm_password(password: str) -> None:
    """Ask who has signed in for the password again, before they change how they sign in.

    Raises:
        SignInRefused, TooManyGuesses: as `accounts.confirm_password`.
    """
    found = stay()
    assert found is not None
    accounts.confirm_password(
        portal().sessions,
        rules(),
        found.user,
        password=password,
        origin=origin(),
        actor=actor_of(signed_in_person()),
    )


def begin_stay(opened: Opened) -> None:
    """Give the browser the cookies of a stay; the rest of the request belongs to it."""
    _forget_the_stay_before()
    g.stay = _find(opened.token)

    @after_this_request
    def keep(answer: Response) -> Response:
        _set(answer, _STAY, opened.token, rules().limits.absolute)
        if opened.device is not None:
            _set(answer, _DEVICE, opened.device, KNOWN_FOR)
        return answer


def leave_stay() -> None:
    """Take the cookie of an ended stay back; the browser stays a known one."""
    _forget_the_stay_before()

    @after_this_request
    def leave(answer: Response) -> Response:
        answer.delete_cookie(current_app.config[_STAY], **_attributes())
        return answer


def _forget_the_stay_before() -> None:
    # Forms of one stay are worth nothing in the next one.
    session.clear()
    g.stay = None


def _find(token: str) -> WebSession | None:
    # A page that follows a batch asks by itself, and would keep its stay from ever falling idle.
    by_itself = "HX-Request" in request.headers
    with portal().sessions.begin() as transaction:
        return accounts.find_session(transaction, token, limits=rules().limits, in_use=not by_itself)


def _set(answer: Response, which: str, token: str, lasts: timedelta) -> None:
    answer.set_cookie(current_app.config[which], token, max_age=lasts, **_attributes())


def _attributes() -> dict[str, Any]:
    return {"secure": current_app.config["SESSION_COOKIE_SECURE"], "httponly": True, "samesite": "Lax"}
