"""What a hospital's installation may not have: no program starts with it, and the doctor names it with its remedy."""

import base64
import re
from contextlib import closing
from urllib.parse import urlsplit, urlunsplit

import pytest
import sqlalchemy as sa
from redis import Redis

import webui.wsgi
import worker.app
import worker.scheduler
from cli.doctor import examine
from dermabatch import accounts
from dermabatch.database import connect
from dermabatch.errors import ConfigurationError
from dermabatch.production import RULES, require_production
from dermabatch.settings import load_settings
from tests.situations import SALT, TESTS, open_hospital

PROGRAMS = {
    "web": (webui.wsgi, webui.wsgi.create),
    "worker": (worker.app, worker.app.main),
    "scheduler": (worker.scheduler, worker.scheduler.main),
}
REMEDIES = {
    "passwords": "as dermabatch new-secrets writes them",
    "keys": "dermabatch new-secrets writes new keys",
    "demo accounts": "dermabatch users disable nurse@demo.example",
    "debugging": "unset it",
    "cookies": "unset DERMABATCH_INSECURE_COOKIES and put a proxy with TLS in front",
    "database role": "sign in as the role of the program",
    "redis password": "set requirepass there and DERMABATCH_REDIS_URL=redis://:PASSWORD@HOST:6379/0",
}


@pytest.fixture
def installation(services, database, redis_url, object_store, monkeypatch):
    """Gives this process the environment of a program in a hospital, with these changes."""

    def _installation(program="worker", changes=()):
        role = "web" if program == "web" else "worker"
        for name, value in {
            **services.environment(role, database.name),
            "DERMABATCH_S3_BUCKET": "tests",
            "DERMABATCH_CHAINER_URL": database.url("chainer"),
            **dict(changes),
        }.items():
            monkeypatch.setenv(name, value)
        return load_settings()

    open_hospital(database.sessions("web"))
    return _installation


@pytest.fixture
def what_is_wrong(database, redis_url):
    """Brings one thing about that a hospital may not have; returns what the environment has to do with it."""

    def _what_is_wrong(rule):
        if rule == "demo accounts":
            with database.sessions("web").begin() as session:
                accounts.create_user(
                    session,
                    email="nurse@demo.example",
                    name="Nurse",
                    password="correct horse battery",
                    roles=[accounts.STAFF],
                    department=accounts.find_department(session),
                    salt=SALT,
                    actor=TESTS,
                )
        return {
            "passwords": {"DERMABATCH_SECRET_KEY": "changeme-changeme"},
            "keys": {"DERMABATCH_MASTER_KEY": base64.b64encode(bytes(32)).decode()},
            "debugging": {"FLASK_DEBUG": "1"},
            "cookies": {"DERMABATCH_INSECURE_COOKIES": "true"},
            "database role": {"DERMABATCH_DATABASE_URL": database.url("owner")},
            "redis password": {"DERMABATCH_REDIS_URL": _without_password(redis_url)},
        }.get(rule, {})

    return _what_is_wrong


def _without_password(url):
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{parts.hostname}:{parts.port}"))


def _start(program, monkeypatch):
    module, start = PROGRAMS[program]
    monkeypatch.setattr(module, "configure_logging", lambda _settings: None)  # it is this process that logs
    start()


def _require(settings):
    with closing(connect(settings.database_url.get_secret_value())) as sessions:
        require_production(settings, sessions)


def _production(settings):
    return {check.name: check for check in examine(settings) if check.name in RULES}


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_program_of_a_hospital_starts_with_any_of_it_and_all_is_told_at_once(
    program, installation, what_is_wrong, monkeypatch
):
    installation(program, {name: value for rule in RULES for name, value in what_is_wrong(rule).items()})
    with pytest.raises(ConfigurationError) as refused:
        _start(program, monkeypatch)
    assert [remedy for remedy in REMEDIES.values() if remedy not in str(refused.value)] == []


@pytest.mark.parametrize("program", PROGRAMS)
def test_without_any_of_it_only_the_forgetful_database_of_the_tests_is_refused(
    program, installation, monkeypatch
):
    installation(program)
    with pytest.raises(ConfigurationError, match="fsync"):
        _start(program, monkeypatch)


def test_each_alone_is_refused_and_the_doctor_names_it_with_its_remedy_and_nothing_else(
    installation, what_is_wrong, monkeypatch, subtests
):
    installation()
    for rule in sorted(RULES, key="demo accounts".__eq__):  # whom it makes, stays
        with subtests.test(rule), monkeypatch.context() as patch:
            for name, value in what_is_wrong(rule).items():
                patch.setenv(name, value)
            checks = _production(load_settings())
            assert {name for name, check in checks.items() if not check.ok} == {rule}
            assert REMEDIES[rule] in checks[rule].remedy
            with pytest.raises(ConfigurationError, match=re.escape(REMEDIES[rule])):
                _require(load_settings())


def test_a_trial_on_one_machine_is_excused_and_the_doctor_says_so(installation, what_is_wrong):
    changes = {name: value for rule in RULES for name, value in what_is_wrong(rule).items()}
    settings = installation(changes={**changes, "DERMABATCH_TRIAL": "true"})
    _require(settings)
    checks = _production(settings)
    assert [name for name, check in checks.items() if not check.ok] == []
    assert [name for name, check in checks.items() if not check.finding.endswith("(a trial may)")] == []


@pytest.mark.parametrize("role", ["owner", "postgres"])
def test_the_chainers_role_is_looked_at_as_well(role, installation, database):
    checks = _production(installation(changes={"DERMABATCH_CHAINER_URL": database.url(role)}))
    assert not checks["database role"].ok


def test_a_demo_account_that_is_disabled_is_no_way_in(installation, what_is_wrong, database):
    what_is_wrong("demo accounts")
    with database.sessions("web").begin() as session:
        accounts.disable(session, accounts.find_user(session, "nurse@demo.example"), actor=TESTS)
    assert _production(installation())["demo accounts"].ok


def test_a_redis_that_also_answers_without_a_password_is_found(installation, services):
    with Redis.from_url(services.redis_url) as redis:
        redis.execute_command("ACL", "SETUSER", "default", "nopass")
        try:
            assert not _production(installation())["redis password"].ok
        finally:
            password = urlsplit(services.redis_url).password
            redis.execute_command("ACL", "SETUSER", "default", "resetpass", f">{password}")


def test_an_owner_whose_database_was_away_at_the_start_is_refused_when_it_is_back(installation, database):
    settings = installation(
        changes={"DERMABATCH_DATABASE_URL": database.url("worker").replace("127.0.0.1", "127.0.0.9")}
    )
    with closing(connect(database.url("owner"))) as sessions:
        require_production(settings, sessions)
        with pytest.raises(ConfigurationError, match="dermabatch_owner"), sessions.begin() as session:
            session.execute(sa.text("SELECT 1"))


def test_a_database_before_its_first_migration_has_no_demo_account(installation, services):
    assert _production(
        installation(changes={"DERMABATCH_DATABASE_URL": services.postgres_url("worker", "postgres")})
    )["demo accounts"].ok
