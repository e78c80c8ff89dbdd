"""What is too easy to guess, and what is not."""

import secrets

import pytest
from pydantic import SecretStr

from cli.new_secrets import _generate
from dermabatch.production import RULES
from dermabatch.settings import Settings

NAMES = (
    *("database_url", "chainer_url", "redis_url", "s3_endpoint", "s3_access_key", "s3_secret_key"),
    *("master_key", "signing_key", "verify_key", "secret_key", "password_salt"),
)


def settings(**changes):
    made = _generate()
    made |= {"database_url": made["web_url"], "s3_endpoint": "http://seaweedfs:8333"}
    return Settings(**{name: made[name] for name in NAMES} | changes)


@pytest.mark.parametrize("_again", range(20))
def test_what_new_secrets_writes_cannot_be_guessed(_again):
    assert RULES["passwords"](settings()) is None
    assert RULES["keys"](settings()) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("database_url", "postgresql+psycopg2://dermabatch_web:mysecretpassword@db/dermabatch"),
        ("chainer_url", "postgresql+psycopg2://dermabatch_chainer:dermabatch_chainer@db/dermabatch"),
        ("redis_url", "redis://:redis@redis:6379/0"),
        ("s3_secret_key", "minioadmin"),
        ("s3_secret_key", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        ("secret_key", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        ("password_salt", "salt"),
    ],
)
def test_a_password_that_can_be_guessed_is_named_by_its_setting_and_not_shown(name, value):
    finding, _ = RULES["passwords"](settings(**{name: value}))
    assert f"DERMABATCH_{name.upper()}" in finding
    assert value not in finding


@pytest.mark.parametrize("name", ["master_key", "signing_key"])
@pytest.mark.parametrize(
    "key",
    [
        bytes(32),
        b"\xff" * 32,
        bytes(range(32)),
        bytes(range(255, 223, -1)),
        b"0123456789abcdef0123456789abcdef",
        b"replace this by a key of your own"[:32],
    ],
)
def test_a_key_that_was_typed_is_named(name, key):
    finding, _ = RULES["keys"](settings(**{name: key}))
    assert finding == f"DERMABATCH_{name.upper()} is not random"


def test_a_random_key_is_a_key():
    assert all(RULES["keys"](settings(master_key=secrets.token_bytes(32))) is None for _ in range(200))


@pytest.mark.parametrize(
    ("value", "on"), [("1", True), ("true", True), ("0", False), ("No", False), ("", False)]
)
def test_debugging_is_on_where_flask_takes_it_for_on(value, on, monkeypatch):
    monkeypatch.setenv("FLASK_DEBUG", value)
    assert (RULES["debugging"](settings()) is not None) is on


def test_a_log_in_debug_is_debugging():
    finding, _ = RULES["debugging"](settings(log_level="DEBUG"))
    assert "DERMABATCH_LOG_LEVEL=DEBUG" in finding


def test_a_secret_that_is_not_given_is_not_looked_at():
    bare = settings(secret_key=None, password_salt=None, chainer_url=None, signing_key=None)
    assert RULES["passwords"](bare) is None
    assert RULES["keys"](bare) is None


def test_a_database_without_a_password_in_its_url_may_know_its_users_otherwise():
    by_certificate = settings(database_url=SecretStr("postgresql+psycopg2://dermabatch_web@db/dermabatch"))
    assert RULES["passwords"](by_certificate) is None
