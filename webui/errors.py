"""Errors become HTTP here and nowhere else: a page for people, JSON (RFC 9457) for programs."""

from collections.abc import Iterator
from math import ceil
from typing import Any, Final

import structlog
from flask import Flask, Response, g, jsonify, make_response, render_template, request
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge, TooManyRequests

from dermabatch.errors import (
    ArtifactRefused,
    Conflict,
    DatabaseUnavailable,
    DermabatchError,
    ErasedSubject,
    ImageRejected,
    InvalidRequest,
    KeyUsedBefore,
    NotAllowed,
    NotFound,
    ObjectMissing,
    QuotaExceeded,
    ServiceUnavailable,
    SignInRefused,
    TryLater,
)
from dermabatch.observability import kind_of
from webui.tracing import request_id

log = structlog.get_logger(__name__)

_STATUS: Final[dict[type[DermabatchError], int]] = {
    NotFound: 404,
    NotAllowed: 403,
    Conflict: 409,
    ErasedSubject: 410,
    QuotaExceeded: 413,
    InvalidRequest: 400,
    SignInRefused: 400,
    TryLater: 429,
    ImageRejected: 422,
    KeyUsedBefore: 422,
    ArtifactRefused: 422,
    ObjectMissing: 500,
    ServiceUnavailable: 503,
}
"""The nearest class on the way up to `DermabatchError` decides; anything else is our fault and 500."""

_TITLES: Final = {
    400: "This cannot be done as asked",
    401: "You are not signed in",
    403: "This is not yours to open",
    404: "There is nothing here",
    405: "This cannot be done here",
    409: "Things have changed in the meantime",
    410: "This patient was erased",
    413: "This is too large",
    415: "This format is not understood",
    422: "This cannot be used",
    429: "Too many requests",
    503: "A part of the system does not answer",
}
_OWN_FAULT: Final = "Something went wrong on our side"

_ADVICE: Final = {
    404: "It does not exist, or it belongs to another department. Nothing was changed.",
    429: "The portal limits how often one person may ask. Nothing was changed; it works again after the wait.",
    500: "Nothing was half done: what was not confirmed was not kept. Try again, and if it stays, give the request"
    " ID to whoever runs this system.",
    503: "What was stored stays stored, and work in progress goes on by itself. Try again in a minute.",
}


def status_of(error: DermabatchError) -> int:
    """The HTTP status of an error of ours."""
    return next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), 500)


def install(app: Flask) -> None:
    """Answer every error of every view. Call it after extensions that bring handlers of their own."""
    app.register_error_handler(DermabatchError, _expected)
    app.register_error_handler(CSRFError, _stale_form)
    app.register_error_handler(RequestEntityTooLarge, _too_large)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(OperationalError, _database_away)
    app.register_error_handler(PoolTimeout, _database_away)
    app.register_error_handler(Exception, _unexpected)


def problem(status: int, code: str, message: str) -> Response:
    """The answer for an error, in the form that the asker understands.

    Args:
        status: HTTP status.
        code: stable and for programs, as in `dermabatch.errors`.
        message: one or two sentences for a person; holds no detail of an unexpected error.
    """
    g.code_of_problem = code
    title = _TITLES.get(status, _OWN_FAULT if status >= 500 else _TITLES[400])
    if _for_a_program():
        answer = jsonify(
            type="about:blank", title=title, status=status, code=code, detail=message, request_id=request_id()
        )
        answer.mimetype = "application/problem+json"
    else:
        # A page in the full frame asks the database who is signed in, which may be what failed.
        template = "errors/failure.html" if status >= 500 else "errors/refusal.html"
        answer = make_response(
            render_template(template, title=title, message=message, status=status, advice=_ADVICE.get(status))
        )
    answer.status_code = status
    return answer


def code_of_problem() -> str | None:
    """The code in the answer to the present request; None where it is none of an error."""
    found: str | None = g.get("code_of_problem")
    return found


def _for_a_program() -> bool:
    if request.path.startswith("/api/"):
        return True
    accepted = request.accept_mimetypes
    return accepted["application/json"] > accepted["text/html"]


def _expected(error: DermabatchError) -> Response:
    status = status_of(error)
    if status >= 500:
        log.error("request_failed", code=error.code, error=str(error))
        # What a service said of itself is for the log.
        return problem(status, error.code, _ADVICE[503 if status == 503 else 500])
    answer = problem(status, error.code, str(error))
    if isinstance(error, TryLater):
        answer.headers["Retry-After"] = str(ceil(error.wait.total_seconds()))
    return answer


def _stale_form(_error: CSRFError) -> Response:
    return problem(
        400, "stale_form", "This form belongs to an earlier sign-in. Open the page again and repeat."
    )


def _too_large(_error: RequestEntityTooLarge) -> Response:
    return problem(
        413, "quota_exceeded", "More arrived than the portal takes in one go. Split it and send the parts."
    )


def _http(error: HTTPException) -> Response:
    # `abort(response)` and redirects carry their answer with them.
    if error.response is not None or error.code is None or error.code < 400:
        return make_response(error.get_response())
    status = error.code
    wrong = (getattr(error, "data", None) or {}).get("messages", {})  # of webargs, by place and field
    message = "; ".join(_wrong_fields(wrong)) or _ADVICE.get(status) or error.description or error.name
    answer = problem(status, error.name.lower().replace(" ", "_"), message)
    if isinstance(error, MethodNotAllowed | TooManyRequests):
        for name in ("Allow", "Retry-After"):
            if value := error.get_response().headers.get(name):
                answer.headers[name] = value
    return answer


def _wrong_fields(messages: Any, *path: str) -> Iterator[str]:
    """`query.limit: Must be at most 500.` for each field that webargs found wrong."""
    if isinstance(messages, dict):
        for name, inner in messages.items():
            yield from _wrong_fields(inner, *path, str(name))
    else:
        yield f"{'.'.join(path)}: {' '.join(messages)}"


def _database_away(error: Exception) -> Response:
    log.error("database_away", error=kind_of(error))
    return problem(503, DatabaseUnavailable.code, _ADVICE[503])


def _unexpected(error: Exception) -> Response:
    # The formatter of the log leaves out what the error says: PostgreSQL, for one, quotes rows.
    log.exception("request_broke", error=kind_of(error))
    return problem(500, "internal", _ADVICE[500])
