"""What every answer and every request must have: headers, cookies, CSRF tokens, rate limits."""

import time
from datetime import timedelta
from http import HTTPStatus
from math import ceil
from typing import Any

from flask import Flask, Response, request
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_talisman import Talisman
from flask_wtf import CSRFProtect
from redis.backoff import NoBackoff
from redis.retry import Retry
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.sansio.utils import host_is_trusted

from dermabatch.errors import ConfigurationError, InvalidRequest
from dermabatch.settings import Settings
from webui import pictures
from webui.signing_in import signed_in_person

CONTENT_SECURITY_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    # Bootstrap draws carets and ticks as data: images.
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}

_PERMISSIONS = ", ".join(
    f"{feature}=()" for feature in ("camera", "microphone", "geolocation", "browsing-topics")
)

csrf = CSRFProtect()
talisman = Talisman()


def _asker() -> str:
    person = signed_in_person()
    return str(person.id) if person else get_remote_address()


limiter = Limiter(
    _asker, default_limits=["1200 per minute"], strategy="moving-window", key_prefix="dermabatch"
)


def configure(app: Flask, settings: Settings) -> None:
    """Set every Flask option that has to do with cookies, forms and the size of requests.

    Raises:
        ConfigurationError: the key of forms is missing.
    """
    if settings.secret_key is None:
        raise ConfigurationError("The portal needs DERMABATCH_SECRET_KEY, which is not set.")
    secure = not settings.insecure_cookies
    app.config.update(
        SECRET_KEY=settings.secret_key.get_secret_value(),
        # `__Host-` cookies cannot be set from a sibling domain; browsers take them only over HTTPS.
        SESSION_COOKIE_NAME="__Host-session" if secure else "session",
        SESSION_COOKIE_SECURE=secure,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        # A token lives as long as the cookie it is bound to.
        WTF_CSRF_TIME_LIMIT=None,
        MAX_CONTENT_LENGTH=2**20,
        SEND_FILE_MAX_AGE_DEFAULT=timedelta(days=365),
        RATELIMIT_STORAGE_URI=settings.redis_url.get_secret_value(),
        RATELIMIT_STORAGE_OPTIONS=_storage_options(),
        # Without Redis each process counts for itself: the portal goes on, somewhat more leniently.
        RATELIMIT_IN_MEMORY_FALLBACK_ENABLED=True,
    )


def install(app: Flask, settings: Settings) -> None:
    """Protect every answer, refuse names that are not ours, and hold floods back."""
    if proxies := settings.trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=proxies, x_proto=proxies, x_host=proxies)  # type: ignore[method-assign]

    ours = [name.lower() for name in settings.trusted_hosts]

    @app.before_request
    def refuse_other_names() -> None:
        # A load balancer that looks for a sign of life knows no name.
        if request.endpoint != "frame.health" and not host_is_trusted(request.host.lower(), ours):
            raise InvalidRequest("Expected a name of this portal in the header Host. Received: another one.")

    pictures.install(app)
    secure = not settings.insecure_cookies
    talisman.init_app(
        app,
        content_security_policy=CONTENT_SECURITY_POLICY,
        force_https=secure,
        strict_transport_security=secure,
        session_cookie_secure=secure,
        frame_options="DENY",
        referrer_policy="same-origin",
        permissions_policy=_PERMISSIONS,
    )
    app.after_request(_leave_nothing_behind)
    app.after_request(_tell_how_long_to_wait)
    limiter.init_app(app)


def _leave_nothing_behind(answer: Response) -> Response:
    """On a ward's computer the next person presses Back: no page of a patient stays in the browser."""
    if request.endpoint != "static" and "Cache-Control" not in answer.headers:
        answer.headers["Cache-Control"] = "no-store"
    return answer


def _tell_how_long_to_wait(answer: Response) -> Response:
    limit = limiter.current_limit
    if answer.status_code == HTTPStatus.TOO_MANY_REQUESTS and limit is not None and limit.breached:
        # Flask-Limiter itself would round down: whoever came back then would be refused once more.
        answer.headers["Retry-After"] = str(max(1, ceil(limit.reset_at - time.time())))
    return answer


def _storage_options() -> dict[str, Any]:
    # A stopped Redis must cost a request a moment, not a time-out.
    return {"socket_timeout": 0.3, "socket_connect_timeout": 0.3, "retry": Retry(NoBackoff(), 0)}
