from datetime import UTC, date, datetime

import pytest
from pydantic import SecretStr

from cli.doctor import examine
from dermabatch.erasures import erase_subject, replay_erasures
from dermabatch.schema import ScheduledRun
from dermabatch.settings import Settings
from dermabatch.subjects import KeyRing, find_or_create_subject
from dermabatch.triage import Triage
from tests.situations import TESTS, File, batch_with_results, open_hospital, register_active_model
from worker.training_schedule import JOB

NOT_OK_IN_TESTS = {"model", "durability"}
"""No model is active, and the server of the tests has fsync off."""


@pytest.fixture
def hospital(database):
    return open_hospital(database.sessions("web"))


@pytest.fixture
def settings(services, database, redis_url, object_store, hospital):
    names = services.environment("worker", database.name) | {"DERMABATCH_S3_BUCKET": "tests"}
    return Settings(**{name.removeprefix("DERMABATCH_").lower(): value for name, value in names.items()})


@pytest.fixture
def batch(database, settings, hospital):
    """A batch whose rows name a pack, a derived object and a model, none of which the storage has."""
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
    assert {name for name, check in checks.items() if not check.ok} == NOT_OK_IN_TESTS
    assert checks["conservation"].finding.endswith("difference 0")


@pytest.mark.parametrize(
    ("down", "setting", "value"),
    [
        ("queue", "redis_url", SecretStr("redis://:nobody-listens-there@127.0.0.1:1/0")),
        ("storage", "s3_endpoint", "http://127.0.0.1:1"),
        ("storage", "s3_bucket", "a-bucket-that-nobody-made"),
    ],
)
def test_a_part_that_is_down_is_named_and_the_others_are_checked(settings, down, setting, value):
    checks = findings(settings.model_copy(update={setting: value}))
    not_told = {"erasures"} if down == "storage" else set()  # without the storage nobody can say
    assert {name for name, check in checks.items() if not check.ok} == {down, *NOT_OK_IN_TESTS, *not_told}
    assert checks[down].remedy


def test_an_erased_patient_whom_a_restore_brought_back_is_counted(settings, database, hospital, object_store):
    keyring, web = KeyRing(settings.master_key), database.sessions("web")
    with web.begin(department=hospital.department) as session:
        subject_id = find_or_create_subject(session, keyring, hospital.department, "P-4711").id
    with web.begin(department=hospital.department) as session:
        erase_subject(session, subject_id, keyring=keyring, store=object_store, actor=TESTS)
        # The storage remembers it, the database is the one from before.
        session.rollback()
    check = findings(settings)["erasures"]
    assert (check.ok, check.finding) == (False, "erased patients who can be read again: 1")
    replay_erasures(sessions=database.sessions("worker"), store=object_store, keyring=keyring, actor=TESTS)
    assert findings(settings)["erasures"].ok


def test_a_deep_look_names_rows_without_their_bytes(settings, batch):
    checks = findings(settings, deep=True)
    assert {name for name, check in checks.items() if not check.ok} == {"bytes", "durability", "model"}
    assert checks["bytes"].finding.startswith(
        "2 objects are gone or changed; 0 images lie in no stored pack: packs/"
    )


def test_a_training_that_failed_by_the_clock_is_named_with_its_remedy(settings, database):
    with database.sessions("trainer").begin() as session:
        session.add(ScheduledRun(job=JOB, day=date(2026, 11, 21), ended_at=datetime.now(UTC), exit_code=2))
    checks = findings(settings)
    assert {name for name, check in checks.items() if not check.ok} == {"training", *NOT_OK_IN_TESTS}
    assert "exit code 2" in checks["training"].finding
    assert "2026-11-21/log.txt" in checks["training"].remedy


def test_a_schedule_that_is_none_is_named(settings):
    checks = findings(settings.model_copy(update={"training_schedule": "at night"}))
    assert "at night" in checks["training"].finding
    assert checks["training"].remedy


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
