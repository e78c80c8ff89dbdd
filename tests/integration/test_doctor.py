import pytest
from pydantic import SecretStr

from cli.doctor import examine
from dermabatch.settings import Settings
from dermabatch.subjects import KeyRing
from dermabatch.triage import Triage
from tests.situations import File, batch_with_results, open_hospital, register_active_model


@pytest.fixture
def hospital(database):
    return open_hospital(database.sessions("web"))


@pytest.fixture
def settings(services, database, redis_url, object_store, hospital):
    names = services.environment("worker", database.name) | {"DERMABATCH_S3_BUCKET": "tests"}
    return Settings(**{name.removeprefix("DERMABATCH_").lower(): value for name, value in names.items()})


@pytest.fixture
def batch(database, settings, hospital):
    """A batch whose rows name a pack and a derived object, neither of which the storage has."""
    web, worker = database.sessions("web"), database.sessions("worker")
    digest = register_active_model(web, hospital)
    keyring = KeyRing(settings.master_key)
    return batch_with_results(
        web, worker, hospital, keyring, [File("a.jpg", Triage.SOON, 0.3)], digest=digest
    )


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


def test_a_deep_look_names_rows_without_their_bytes(settings, batch):
    checks = findings(settings, deep=True)
    assert {name for name, check in checks.items() if not check.ok} == {"bytes"}
    assert checks["bytes"].finding.startswith(
        "2 objects are gone or changed; 0 images lie in no stored pack: packs/"
    )


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
