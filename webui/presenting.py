"""How values look on every page: numbers, times, names, and addresses of static files."""

import hashlib
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from flask import Flask, request

from dermabatch.lifecycle import BatchState, ChunkState, ImageState, ModelState
from dermabatch.schema import Prediction
from dermabatch.taxonomy import BY_CODE, CLASSES, LESION_CLASSES
from dermabatch.triage import Triage
from webui.signing_in import signed_in_person
from webui.tickets import ticket_for
from webui.tracing import request_id
from webui.wording import OUTCOME_WORDS, QUEUE_WORDS, ROLE_WORDS, SCOPE_WORDS, STATE_WORDS, action_name

THEMES: Final = ("light", "dark")
THEME_COOKIE: Final = "theme"

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_KILO: Final = 1024

# In this order: Edge and Opera call themselves Chrome too, and Chrome Safari.
_BROWSERS: Final = (
    *(("Edg", "Edge"), ("OPR", "Opera"), ("Firefox", "Firefox"), ("FxiOS", "Firefox")),
    *(("Chrome", "Chrome"), ("CriOS", "Chrome"), ("Safari", "Safari")),
)
_SYSTEMS: Final = (
    *(("Windows", "Windows"), ("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad")),
    *(("Mac OS", "Mac"), ("CrOS", "ChromeOS"), ("Linux", "Linux")),
)


def install(app: Flask) -> None:
    """Give the templates their filters and the names they use everywhere."""
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
    shown = (percent, ago, exactly, clock, duration, file_size, class_name, short, grouped, reason_alone)
    for presented in (*shown, action_name, browser_name):
        app.add_template_filter(presented)
    app.context_processor(_everywhere)
    app.url_defaults(_version_of_static_file)


def percent(probability: float) -> str:
    """No decimals from 10 % on, one below: 0.624 -> 62 %, 0.034 -> 3.4 %."""
    value = probability * 100
    if value < 0.05:
        return "<\N{NO-BREAK SPACE}0.1\N{NO-BREAK SPACE}%"
    shown = f"{value:.0f}" if value >= 9.95 else f"{value:.1f}"
    return f"{shown}\N{NO-BREAK SPACE}%"


def ago(moment: datetime, now: datetime | None = None) -> str:
    """How long past a moment is, as people say it: `12 min ago`; older than a week, the date."""
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    if seconds < 10:
        return "just now"
    if seconds < _MINUTE:
        return f"{seconds:.0f} s ago"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE:.0f} min ago"
    if seconds < _DAY:
        return f"{seconds // _HOUR:.0f} h ago"
    if seconds < 7 * _DAY:
        days = int(seconds // _DAY)
        return "yesterday" if days == 1 else f"{days} days ago"
    return f"{moment:%-d %b %Y}"


def exactly(moment: datetime) -> str:
    """A moment with its zone: `2026-11-22 20:57:29 UTC`."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def duration(seconds: float) -> str:
    """A length of time with its unit: `8 s`, `4 min`, `2.5 h`."""
    if seconds < _MINUTE:
        return f"{max(1, round(seconds))} s"
    if seconds < _HOUR:
        return f"{round(seconds / _MINUTE)} min"
    return f"{seconds / _HOUR:.1f} h"


def file_size(size: int) -> str:
    """A size as file managers say it, in powers of 1024: `64 MB`."""
    if size < _KILO**2:
        return f"{size / _KILO:.0f} kB"
    if size < _KILO**3:
        return f"{size / _KILO**2:.3g} MB"
    return f"{size / _KILO**3:.3g} GB"


def clock(moment: datetime) -> str:
    """Day and time; scripts put the reader's own zone in its place: `22 Nov, 21:20 UTC`."""
    return f"{moment.astimezone(UTC):%-d %b, %H:%M} UTC"


def reason_alone(prediction: Prediction) -> str:
    """Why a triage level was given, where the level itself stands beside: `Melanoma 0.62, at or above ...`."""
    reason = prediction.triage_reason.removeprefix(f"{prediction.triage.label}: ")
    return reason[:1].upper() + reason[1:]


def class_name(code: str) -> str:
    """`mel` -> `Melanoma`."""
    return BY_CODE[code].name


def short(identifier: str | UUID) -> str:
    """Enough of an identifier to tell two apart by eye.

    A UUIDv7 starts with its time, so that neighbours differ only at their end; a digest differs everywhere.
    """
    if isinstance(identifier, UUID):
        return identifier.hex[-8:]
    return identifier[:12]


def grouped(number: int) -> str:
    """Thousands set apart: `10 015`."""
    return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def browser_name(agent: str) -> str:
    """What a browser says of itself, as people call it: `Firefox on Windows`."""
    browser = next((name for mark, name in _BROWSERS if mark in agent), "A browser")
    system = next((name for mark, name in _SYSTEMS if mark in agent), None)
    return f"{browser} on {system}" if system else browser


def theme() -> str | None:
    """What the reader chose; None leaves it to their system."""
    chosen = request.cookies.get(THEME_COOKIE)
    return chosen if chosen in THEMES else None


def _everywhere() -> dict[str, Any]:
    return {
        "asker": signed_in_person,
        "theme": theme,
        "request_id": request_id,
        "ticket_for": ticket_for,
        "STATE_WORDS": STATE_WORDS,
        "ROLE_WORDS": ROLE_WORDS,
        "QUEUE_WORDS": QUEUE_WORDS,
        "SCOPE_WORDS": SCOPE_WORDS,
        "OUTCOME_WORDS": OUTCOME_WORDS,
        "LESION_CLASSES": LESION_CLASSES,
        "CLASSES": CLASSES,
        "BatchState": BatchState,
        "ChunkState": ChunkState,
        "ImageState": ImageState,
        "ModelState": ModelState,
        "Triage": Triage,
    }


def _version_of_static_file(endpoint: str, values: dict[str, Any]) -> None:
    # Browsers keep these files for a year, so that a changed file needs a new address.
    if endpoint == "static" and "filename" in values:
        values["v"] = _fingerprint(values["filename"])


@lru_cache
def _fingerprint(name: str) -> str:
    content = (Path(__file__).parent / "static" / name).read_bytes()
    return hashlib.sha256(content).hexdigest()[:12]
