"""What belongs to every page and to none: the choice of theme, and the sign of life for a load balancer."""

from datetime import timedelta
from urllib.parse import urlsplit

import sqlalchemy as sa
from flask import Blueprint, current_app, redirect, request
from flask.typing import ResponseReturnValue

from webui.addresses import path_here
from webui.portal import portal
from webui.presenting import THEME_COOKIE, THEMES
from webui.security import limiter, talisman

blueprint = Blueprint("frame", __name__)


@blueprint.post("/theme")
def choose_theme() -> ResponseReturnValue:
    """Keep the theme in a cookie, so that it works without scripts, and go back to where the reader was."""
    answer = redirect(_where_they_were())
    chosen = request.form.get("theme")
    if chosen in THEMES:
        answer.set_cookie(
            THEME_COOKIE,
            chosen,
            max_age=timedelta(days=365),
            secure=current_app.config["SESSION_COOKIE_SECURE"],
            httponly=True,
            samesite="Lax",
        )
    return answer


@blueprint.get("/healthz")
@limiter.exempt
@talisman(force_https=False)
def health() -> ResponseReturnValue:
    """200 while the portal reaches its database; an error otherwise."""
    with portal().sessions.begin() as session:
        session.execute(sa.select(1))
    return {"status": "ok"}


def _where_they_were() -> str:
    parts = urlsplit(request.referrer or "/")
    return path_here(f"{parts.path}?{parts.query}" if parts.query else parts.path)
