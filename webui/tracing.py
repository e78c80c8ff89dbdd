"""One identifier per request: in the log, in the audit trail, on error pages and in the answer's headers."""

import re
import time

import structlog
from flask import Flask, Response, g, request

from dermabatch.identifiers import new_id

HEADER = "X-Request-ID"
_ACCEPTABLE = re.compile(r"[A-Za-z0-9_-]{8,64}")

log = structlog.get_logger(__name__)


def install(app: Flask, *, trusted_proxies: int) -> None:
    """Number every request and log one line for each.

    Args:
        app: gets the hooks.
        trusted_proxies: only with proxies of our own in front is an identifier from outside taken over.
    """

    @app.before_request
    def begin() -> None:
        offered = request.headers.get(HEADER, "") if trusted_proxies else ""
        g.request_id = offered if _ACCEPTABLE.fullmatch(offered) else new_id().hex
        g.started = time.perf_counter()
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=g.request_id)

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers[HEADER] = request_id()
        # The path's pattern and not the path: what stands in a query string is nobody's business here.
        log.info(
            "request",
            method=request.method,
            route=request.url_rule.rule if request.url_rule else None,
            status=response.status_code,
            milliseconds=round((time.perf_counter() - g.started) * 1000, 1) if "started" in g else None,
        )
        return response


def request_id() -> str:
    """The identifier of the present request."""
    return str(g.get("request_id", ""))
