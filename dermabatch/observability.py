"""How every program logs: one line an event, JSON for machines or plain for a terminal, to standard error.

A log names no patient and no file. What an error *says* may quote either: PostgreSQL quotes the row that it refuses,
`zipfile` the name of a member, gunicorn the address that was asked for. So tracebacks show which errors there were and
where in the code, never their words, and what another library says of an error is cut to the fixed part of its message.
"""

import logging
import sys
import threading
import traceback
from types import TracebackType
from typing import Final

import structlog

from dermabatch.settings import RegistrySettings

_QUOTING: Final = ("celery.app.trace", "gunicorn.error")
"""Loggers whose warnings hold what a message or a request brought."""


def configure_logging(settings: RegistrySettings) -> None:
    """Send structlog and the standard library's loggers to standard error in one format."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[settings.log_level]
        ),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _leave_out_arguments],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.ExceptionRenderer(_traceback_without_words),
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level)
    # Their INFO is one line for every connection.
    for chatty in ("botocore", "boto3", "urllib3", "amqp", "kombu"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # It brings a handler of its own, which prints whole tracebacks.
    gunicorn = logging.getLogger("gunicorn.error")
    gunicorn.handlers, gunicorn.propagate = [], True
    sys.excepthook = _log_the_end
    threading.excepthook = lambda end: _log_the_end(end.exc_type, end.exc_value, end.exc_traceback)


def kind_of(error: BaseException) -> str:
    """Which error it is without what it says; and the numbers that it brings (SQLSTATE, constraint, errno)."""
    cause = getattr(error, "orig", None) or error  # SQLAlchemy wraps the driver's
    state = getattr(cause, "pgcode", None)
    constraint = getattr(getattr(cause, "diag", None), "constraint_name", None)
    number = getattr(cause, "errno", None)
    known = " ".join(str(part) for part in (state, constraint, number) if part)
    name = f"{type(cause).__module__}.{type(cause).__qualname__}"
    return f"{name} ({known})" if known else name


def _leave_out_arguments(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Of a record of another library: with an error, or from one that quotes, only the fixed part of its message."""
    record: logging.LogRecord = event["_record"]
    event["logger"] = record.name
    if record.exc_info or (record.name in _QUOTING and record.levelno > logging.INFO):
        event["event"] = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
    return event


def _traceback_without_words(exc_info: structlog.typing.ExcInfo) -> str:
    """As Python prints it, causes first, but for the messages of the errors."""
    lines: list[str] = []
    error: BaseException | None = exc_info[1]
    while error is not None:
        where = "".join(traceback.format_tb(error.__traceback__))
        lines.insert(0, f"{where}{kind_of(error)}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n\nand then\n\n".join(lines)


def _log_the_end(kind: type[BaseException], error: BaseException | None, where: TracebackType | None) -> None:
    """Of a program or a thread, by an error that nobody took care of."""
    if error is not None and not issubclass(kind, KeyboardInterrupt | SystemExit):
        structlog.get_logger(__name__).critical("ended_by_an_error", exc_info=(kind, error, where))
