"""What a hospital's installation may not have: secrets that can be guessed, demo accounts, debugging, cookies in clear,
a database role above its grants, a Redis that answers everybody.

Portal, worker and scheduler refuse to start with any of it, and `dermabatch doctor` names each with its remedy. Every
installation is taken for a hospital's but a trial on one machine, which says so itself (`Settings.trial`).
"""

import os
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from itertools import pairwise
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

import sqlalchemy as sa
from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from dermabatch.database import Sessions, connect
from dermabatch.errors import ConfigurationError, DatabaseUnavailable
from dermabatch.schema import User
from dermabatch.settings import Settings

DEMO_DOMAIN: Final = "@demo.example"
"""Of the people whom `dermabatch demo` makes, and whose passwords it shows."""

Objection = tuple[str, str]
"""What is wrong, and the remedy."""

Rule = Callable[[Settings], Objection | None]
"""Looks at the settings and at the services that they name; may raise DatabaseUnavailable."""

_SHORTEST_PASSWORD: Final = 12
_FEWEST_CHARACTERS: Final = 6
_PLACEHOLDERS: Final = (
    *("password", "secret", "changeme", "change-me", "change_me", "example"),
    *("minioadmin", "postgres", "dermabatch"),
)
"""No random password holds one of these; those that stand in guides, examples and first drafts do."""

_FEWEST_BYTES: Final = 16
"""Different ones in a key. Of 32 random bytes 30 are different, and fewer than 20 in no key that anybody will see."""

_REDIS_SECONDS: Final = 0.3

_OWNS_ITS_TABLES: Final = """
    SELECT rolname FROM pg_roles
    WHERE rolname = current_user AND (
        rolsuper OR rolbypassrls OR EXISTS (
            SELECT FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
              AND pg_has_role(rolname, relowner, 'MEMBER')
        )
    )
"""


def require_production(settings: Settings, sessions: Sessions) -> None:
    """Start no program of a hospital with what `RULES` forbid; in a trial let all of it pass.

    A database that is away now is asked when it is back: every new connection of `sessions` tells its role.

    Raises:
        ConfigurationError: names everything that is wrong, each with its remedy.
    """
    if settings.trial:
        return
    sa.event.listen(sessions.engine, "connect", _refuse_an_owner)
    objections = []
    for rule in RULES.values():
        with suppress(DatabaseUnavailable):
            objections.append(rule(settings))
    wrong = "; ".join(f"{finding}: {remedy}" for finding, remedy in filter(None, objections))
    if wrong:
        raise ConfigurationError(f"A hospital's installation does not start like this. {wrong}")


def _passwords(settings: Settings) -> Objection | None:
    named = {
        "DATABASE_URL": _password_in(settings.database_url.get_secret_value()),
        "REDIS_URL": _password_in(settings.redis_url.get_secret_value()),
        "S3_SECRET_KEY": settings.s3_secret_key.get_secret_value(),
    }
    optional = {
        "SECRET_KEY": settings.secret_key,
        "PASSWORD_SALT": settings.password_salt,
    }
    named |= {name: secret.get_secret_value() for name, secret in optional.items() if secret is not None}
    if settings.chainer_url is not None:
        named["CHAINER_URL"] = _password_in(settings.chainer_url.get_secret_value())
    weak = [f"DERMABATCH_{name}" for name, text in named.items() if text is not None and _guessable(text)]
    if not weak:
        return None
    return (
        f"anybody can guess the password in {', '.join(weak)}",
        "replace it by a random one, as dermabatch new-secrets writes them",
    )


def _password_in(url: str) -> str | None:
    return urlsplit(url).password


def _guessable(text: str) -> bool:
    return (
        len(text) < _SHORTEST_PASSWORD
        or len(set(text)) < _FEWEST_CHARACTERS
        or any(word in text.lower() for word in _PLACEHOLDERS)
    )


def _keys(settings: Settings) -> Objection | None:
    keys = {"MASTER_KEY": settings.master_key, "SIGNING_KEY": settings.signing_key}
    typed = [f"DERMABATCH_{name}" for name, key in keys.items() if key is not None and not _is_random(key)]
    if not typed:
        return None
    return (
        f"{', '.join(typed)} is not random",
        "dermabatch new-secrets writes new keys; what an old master key sealed needs that key",
    )


def _is_random(key: bytes) -> bool:
    """Whether 32 bytes look drawn and not typed: neither text, nor few values, nor numbers that count up or down."""
    steps = {(after - before) % 256 for before, after in pairwise(key)}
    is_text = all(0x20 <= byte < 0x7F for byte in key)
    return len(set(key)) >= _FEWEST_BYTES and len(steps) > 1 and not is_text


def _demo_accounts(settings: Settings) -> Objection | None:
    emails = sa.select(User.email).where(User.active, User.email.endswith(DEMO_DOMAIN)).order_by(User.email)
    with closing(connect(settings.database_url.get_secret_value())) as sessions, sessions.begin() as session:
        if session.scalar(sa.text("SELECT to_regclass('users')")) is None:  # before the first migration
            return None
        people = session.scalars(emails).all()
    if not people:
        return None
    return (
        f"people of the demo can sign in: {', '.join(people)}",
        " and ".join(f"dermabatch users disable {email}" for email in people),
    )


def _debugging(settings: Settings) -> Objection | None:
    # Flask's own variable and its own reading of it.
    on = {
        "FLASK_DEBUG": os.environ.get("FLASK_DEBUG", "").lower() not in {"", "0", "false", "no"},
        "DERMABATCH_LOG_LEVEL=DEBUG": settings.log_level == "DEBUG",
    }
    named = [name for name, is_on in on.items() if is_on]
    if not named:
        return None
    return f"errors and logs show what they should not ({', '.join(named)})", "unset it"


def _cookies(settings: Settings) -> Objection | None:
    if not settings.insecure_cookies:
        return None
    return (
        "cookies of the portal go over plain HTTP",
        "unset DERMABATCH_INSECURE_COOKIES and put a proxy with TLS in front",
    )


def _database_role(settings: Settings) -> Objection | None:
    for url in filter(None, (settings.database_url, settings.chainer_url)):
        with closing(connect(url.get_secret_value())) as sessions, sessions.begin() as session:
            role = session.scalar(sa.text(_OWNS_ITS_TABLES))
        if role is not None:
            return _owner_objection(role)
    return None


def _owner_objection(role: str) -> Objection:
    return (
        f"the database role {role} owns the tables, or is bound by no row-level security",
        "sign in as the role of the program: docs/operators.md, Database roles",
    )


def _redis(settings: Settings) -> Objection | None:
    url = settings.redis_url.get_secret_value()
    if urlsplit(url).password and not _answers_strangers(url):
        return None
    return (
        "Redis needs no password",
        "set requirepass there and DERMABATCH_REDIS_URL=redis://:PASSWORD@HOST:6379/0",
    )


def _answers_strangers(url: str) -> bool:
    """Whether Redis takes orders from somebody who says no password. One that is away does not."""
    parts = urlsplit(url)
    anonymous = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    never_again = Retry(NoBackoff(), 0)
    seconds = {"socket_timeout": _REDIS_SECONDS, "socket_connect_timeout": _REDIS_SECONDS}
    with Redis.from_url(anonymous, retry=never_again, **seconds) as stranger:
        try:
            return bool(stranger.ping())
        except RedisError:
            return False


RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "passwords": _passwords,
        "keys": _keys,
        "demo accounts": _demo_accounts,
        "debugging": _debugging,
        "cookies": _cookies,
        "database role": _database_role,
        "redis password": _redis,
    }
)


def _refuse_an_owner(connection: sa.engine.interfaces.DBAPIConnection, _record: object) -> None:
    with closing(connection.cursor()) as cursor:
        cursor.execute(_OWNS_ITS_TABLES)
        row = cursor.fetchone()
    connection.rollback()
    if row is not None:
        finding, remedy = _owner_objection(row[0])
        raise ConfigurationError(f"{finding}: {remedy}")
