"""One's own second factor. Whoever has to have one and has none comes here half way in, with the password given."""

from typing import Any

import segno
from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from markupsafe import Markup
from sqlalchemy.orm import Session

from dermabatch import accounts
from dermabatch.accounts import second_factor
from dermabatch.accounts.tables import WebSession
from dermabatch.errors import NotAllowed
from dermabatch.schema import User
from webui.audited import actor_of
from webui.people import Person
from webui.portal import portal
from webui.signing_in import begin_stay, confirm_password, origin, rules, stay

blueprint = Blueprint("second_factor", __name__, url_prefix="/account/second-factor")


@blueprint.get("")
def show() -> str:
    """What there is, or the picture to scan."""
    return _page()


@blueprint.post("/prepare")
def prepare() -> ResponseReturnValue:
    """Make a secret for an authenticator."""
    if _stay().complete:
        confirm_password(request.form.get("password", ""))
    with portal().sessions.begin() as session:
        second_factor.prepare(session, rules().keyring, _row(session), actor=actor_of(_person()))
    return redirect(url_for("second_factor.show", next=request.args.get("next")))


@blueprint.post("/confirm")
def confirm() -> ResponseReturnValue:
    """Let the authenticator count, begin a new stay, and show the recovery codes."""
    actor, code = actor_of(_person()), request.form.get("code", "")
    with portal().sessions.begin() as session:
        user = _row(session)
        codes = second_factor.confirm(session, rules().keyring, user, code, actor=actor)
        if codes is None:
            opened = None
        elif _stay().complete:
            opened = accounts.renew(session, rules(), user, origin=origin())
        else:
            proof = second_factor.Proof.CODE
            opened = accounts.complete(session, rules(), user, origin=origin(), actor=actor, proof=proof)
    if opened is None:
        return _page(wrong=True), 400
    begin_stay(opened)
    return render_template("second_factor/codes.html", codes=codes)


@blueprint.post("/recovery-codes")
def renew_codes() -> str:
    """Replace the recovery codes and show the new ones."""
    confirm_password(request.form.get("password", ""))
    with portal().sessions.begin() as session:
        codes = second_factor.renew_recovery_codes(session, _row(session), actor=actor_of(_person()))
    return render_template("second_factor/codes.html", codes=codes)


@blueprint.post("/remove")
def remove() -> ResponseReturnValue:
    """Go back to the password alone, where the role allows it."""
    confirm_password(request.form.get("password", ""))
    with portal().sessions.begin() as session:
        user = _row(session)
        if rules().demand_second_factor(user):
            raise NotAllowed(
                "Your role has to have a second factor. For another phone an administrator resets it; you set it up"
                " anew as you sign in."
            )
        second_factor.remove(session, user, actor=actor_of(_person()))
    flash("Your second factor is removed.")
    return redirect(url_for("second_factor.show"))


def _page(*, wrong: bool = False) -> str:
    with portal().sessions.begin() as session:
        user = _row(session)
        secret = second_factor.prepared_secret(session, rules().keyring, user)
        shown: dict[str, Any] = {
            "enrolled": second_factor.is_enrolled(session, user.id),
            "codes_left": second_factor.recovery_codes_left(session, user.id),
            "demanded": rules().demand_second_factor(user),
        }
    if secret is not None:
        shown["secret"] = second_factor.secret_as_text(secret)
        shown["picture"] = _picture(second_factor.address_for_apps(secret, user.email))
    return render_template("second_factor/page.html", user=user, wrong=wrong, **shown)


def _picture(address: str) -> Markup:
    """A QR code as SVG, dark on light in both themes: cameras want it so."""
    drawn = segno.make(address, error="m", micro=False).svg_inline(
        border=4, dark="#000", light="#fff", omitsize=True, svgclass="qr"
    )
    return Markup(drawn)  # noqa: S704 - of our own making, from letters of an otpauth address


def _stay() -> WebSession:
    found = stay()
    assert found is not None  # checked before every view
    return found


def _person() -> Person:
    return Person.of(_stay().user, _stay().id)


def _row(session: Session) -> User:
    return session.get_one(User, _stay().user_id)
