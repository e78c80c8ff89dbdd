import pytest
from pydantic import SecretStr

from cli.doctor import examine
from dermabatch.settings import Settings
from tests.situations import open_hospital


@pytest.fixture
def settings(services, database, redis_url, object_store):
    open_hospital(database.sessions("web"))
    names = services.environment("worker", database.name) | {"DERMABATCH_S3_BUCKET": "tests"}
    return Settings(**{name.removeprefix("DERMABATCH_").lower(): value for name, value in names.items()})


def findings(settings, *, deep=False):
    return {check.name: check for check in examine(settings, deep=deep)}


def test_a_sound_installation_is_sound_but_for_its_missing_model(settings):
    checks = findings(settings, deep=True)
    assert {name for name, check in checks.items() if not check.ok} == {"model"}
    assert checks["conservation"].finding.endswith("difference 0")


@pytest.mark.parametrize(
    ("down", "setting", "value"),
    [
        ("queue", "redis_url", SecretStr("redis://127.0.0.1:1/0")),
        ("storage", "s3_endpoint", "http://127.0.0.1:1"),
        ("storage", "s3_bucket", "a-bucket-that-nobody-made"),
    ],
)
def test_a_part_that_is_down_is_named_and_the_others_are_checked(settings, down, setting, value):
    checks = findings(settings.model_copy(update={setting: value}))
    assert {name for name, check in checks.items() if not check.ok} == {down, "model"}
    assert checks[down].remedy


def test_a_database_that_is_down_is_named(settings):
    away = SecretStr("postgresql+psycopg2://dermabatch_worker@127.0.0.1:1/dermabatch")
    checks = findings(settings.model_copy(update={"database_url": away}))
    assert "Connection refused" in checks["database"].finding
    assert checks["queue"].ok


def test_a_role_that_sees_nothing_gives_no_all_clear(settings, database):
    as_portal = settings.model_copy(update={"database_url": SecretStr(database.url("web"))})
    checks = findings(as_portal, deep=True)
    for name in ("work", "conservation", "bytes"):
        assert not checks[name].ok
        assert "dermabatch_worker" in checks[name].finding
