"""The commands that whoever runs the system needs, against real services."""

import json
from uuid import uuid4

import pytest
from click.testing import CliRunner

from cli.main import dermabatch
from dermabatch.errors import NotAllowed, NotFound
from dermabatch.objects import S3ObjectStore
from dermabatch.schema import Subject
from dermabatch.settings import Settings
from dermabatch.shipped import SHIPPED_MODEL
from dermabatch.subjects import KeyRing, find_or_create_subject, find_subject
from tests.situations import open_hospital

ADMINISTRATOR = ("--user", "admin@hospital.example")
NUMBER = "P-4711"


@pytest.fixture
def settings(monkeypatch, services, database):
    values = services.environment("web", database.name) | {"DERMABATCH_S3_BUCKET": f"test-{uuid4()}"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    S3ObjectStore.from_settings(settings).ensure_bucket()
    return settings


@pytest.fixture
def hospital(settings, database):
    return open_hospital(database.sessions("web"))


@pytest.fixture
def run_json(hospital):
    def _run_json(*words, **kwargs):
        result = CliRunner().invoke(dermabatch, [*words, "--json"], **kwargs)
        if result.exception:
            raise result.exception
        return json.loads(result.stdout)

    return _run_json


@pytest.fixture
def patient(settings, database, hospital):
    """A patient of the hospital's department."""
    with database.sessions("web").begin(department=hospital.department) as session:
        keyring = KeyRing(settings.master_key)
        return find_or_create_subject(session, keyring, hospital.department, NUMBER).id


def test_an_administrator_may_activate_the_model_of_this_release(run_json):
    published = run_json("models", "publish-shipped")
    assert (published["digest"], published["state"]) == (SHIPPED_MODEL.digest, "candidate")
    run_json("models", "activate", SHIPPED_MODEL.digest, *ADMINISTRATOR)
    assert run_json("models", "publish-shipped")["state"] == "active"


def test_a_quick_look_asks_only_whether_the_services_answer(run_json):
    answer = run_json("doctor", "--quick")
    assert [(check["name"], check["ok"]) for check in answer["checks"]] == [
        ("database", True),
        ("queue", True),
        ("storage", True),
    ]


def test_an_erased_patient_has_no_key_and_is_not_found_again(run_json, patient, settings, database, hospital):
    erased = run_json("erase-patient", "--yes", *ADMINISTRATOR, input=f"{NUMBER}\n")
    assert erased == {"subject": str(patient), "images": 0}
    with database.sessions("web").begin(department=hospital.department) as session:
        assert session.get(Subject, patient).wrapped_key is None
        assert find_subject(session, KeyRing(settings.master_key), hospital.department, NUMBER) is None
    with pytest.raises(NotFound):
        run_json("erase-patient", "--yes", *ADMINISTRATOR, input=f"{NUMBER}\n")


def test_nobody_is_erased_without_a_confirmation(run_json, patient, database, hospital):
    with pytest.raises(SystemExit):
        run_json("erase-patient", *ADMINISTRATOR, input=f"{NUMBER}\nn\n")
    with database.sessions("web").begin(department=hospital.department) as session:
        assert session.get(Subject, patient).wrapped_key is not None


def test_only_an_administrator_erases(run_json, patient):
    with pytest.raises(NotAllowed):
        run_json("erase-patient", "--yes", "--user", "nurse@hospital.example", input=f"{NUMBER}\n")
