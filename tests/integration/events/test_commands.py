"""Every command that reads or changes something, done and in vain: one event each, of the person or of the program."""

import json
import os
from collections.abc import Callable, Mapping
from typing import Final
from uuid import uuid4

import pytest
from click.testing import CliRunner

from cli.main import dermabatch
from dermabatch import accounts, model_store
from dermabatch.accounts import STAFF
from dermabatch.erasures import erase_subject
from dermabatch.imaging.synthetic import lesion_jpeg
from dermabatch.schema import Subject
from dermabatch.shipped import SHIPPED_MODEL
from dermabatch.subjects import find_or_create_subject
from tests.integration.events.deeds import NEW_PASSWORD
from tests.integration.events.house import House
from tests.integration.events.table import COMMANDS, Leaves
from tests.situations import TESTS, person, write_artifact

AS_ADMINISTRATOR: Final = ("--user", "admin@hospital.example")
AS_NURSE: Final = ("--user", "nurse@hospital.example")
SOURCE: Final = f"command line, uid {os.getuid()}"

Words = Callable[..., tuple[object, ...]]
"""What is typed after the command; made from the house and a folder."""


def _somebody(*more: object) -> Words:
    return lambda house, _folder: (house.email_of(house.new_person(STAFF)), *more)


def _enrolled(house: House, _folder) -> tuple[object, ...]:
    user = house.new_person(STAFF)
    house.enrol(user)
    return (house.email_of(user),)


def _token(house: House, _folder) -> tuple[object, ...]:
    return (house.new_token(house.hospital.nurse, accounts.Scope.MODELS_READ)[1],)


def _plain(*words: object) -> Words:
    return lambda _house, _folder: words


def _batch(*more: object) -> Words:
    return lambda house, _folder: (house.new_batch(), *more)


def _new_model_serves(house: House, _folder) -> tuple[object, ...]:
    model_store.activate(
        house.new_model(), actor=person(house.hospital.administrator), sessions=house.sessions
    )
    return AS_ADMINISTRATOR


def _artifact(_house: House, folder) -> tuple[object, ...]:
    written = write_artifact(folder / "artifact", name=f"tiny-{uuid4().hex[:8]}")
    return (written, "--not-compared", *AS_ADMINISTRATOR)


def _picture(_house: House, folder) -> tuple[object, ...]:
    (folder / "Mustermann.jpg").write_bytes(lesion_jpeg(1, width=96, height=72))
    return (folder / "Mustermann.jpg", *AS_NURSE)


def _empty_archive(_house: House, folder) -> tuple[object, ...]:
    archive = folder / "Mustermann"
    archive.mkdir()
    return (archive, *AS_NURSE)


TYPED: Final[Mapping[str, Words]] = {
    "audit export": lambda _, folder: ("--out", folder / "trail.jsonl", *AS_ADMINISTRATOR),
    "audit search": _plain("--object", "P-4711", *AS_ADMINISTRATOR),
    "audit verify": _plain(*AS_ADMINISTRATOR),
    "cancel": _batch(*AS_NURSE),
    "models activate": lambda house, _: (house.new_model(), *AS_ADMINISTRATOR),
    "models compare": lambda house, _: (house.digest, house.digest),
    "models list": _plain(),
    "models publish-shipped": _plain(),
    "models rollback": _new_model_serves,
    "models served-at": _plain("2099-01-01"),
    "models show": lambda house, _: (house.digest,),
    "publish": _artifact,
    "results": _batch(*AS_NURSE),
    "retry": _batch(*AS_NURSE),
    "screen": _empty_archive,
    "submit": _picture,
    "users add": _plain(
        f"{uuid4().hex}@hospital.example", "--name", "N", "--role", STAFF, "--generate-password"
    ),
    "users add-department": _plain(f"Department {uuid4()}"),
    "users disable": _somebody(),
    "users enable": _somebody(),
    "users forget-guesses": _somebody(),
    "users list": _plain(),
    "users reset-second-factor": _enrolled,
    "users revoke": _token,
    "users roles": _somebody(STAFF),
    "users sign-out": _somebody(),
    "users token": _somebody("--name", "x", "--scope", "batches:read"),
    "users tokens": _somebody(),
}
"""Whatever can be typed in one line."""

NEEDS_A_SITUATION: Final = {"audit accept-restore", "erase-patient", "replay-erasures"}
"""These have tests of their own: the first one, which wants a trail of its own, in `audit/test_command_line.py`."""


@pytest.fixture
def typed(house, services, monkeypatch):
    """Runs a command line on the house; returns what came of it."""
    environment = services.environment("web", house.database.name) | {
        "DERMABATCH_S3_BUCKET": house.settings.s3_bucket,
        "DERMABATCH_PASSWORD_SALT": house.settings.password_salt.get_secret_value(),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def run(*words, **kwargs):
        return CliRunner().invoke(dermabatch, [str(word) for word in words], **kwargs)

    return run


def test_every_command_with_an_event_is_tried_here():
    with_events = {name for name, line in COMMANDS.items() if isinstance(line, Leaves)}
    assert with_events == set(TYPED) | NEEDS_A_SITUATION


@pytest.mark.parametrize("command", TYPED)
def test_what_is_done_leaves_what_the_table_says(house, typed, tmp_path, command):
    words = TYPED[command](house, tmp_path)
    with house.watching() as events:
        ended = typed(*command.split(), *words)
    assert ended.exit_code == 0, ended.output or ended.exception
    line = COMMANDS[command]
    *before, event = events
    assert [one["action"] for one in before] == ([line.first] if line.first else [])
    assert_fits(house, event, line)
    assert "Mustermann" not in str(events)


IN_VAIN: Final = {
    "cancel": (uuid4(), *AS_NURSE),
    "retry": (uuid4(), *AS_NURSE),
    "results": (uuid4(), *AS_NURSE),
    "models show": ("f" * 64,),
    "models activate": ("f" * 64, *AS_ADMINISTRATOR),
    "models compare": ("f" * 64, "e" * 64),
    "users roles": ("Mustermann@hospital.example", STAFF),
    "users tokens": ("Mustermann@hospital.example",),
    "users add-department": ("Dermatology",),
    "users revoke": (uuid4(),),
    "users reset-second-factor": ("nurse@hospital.example",),
    "audit search": ("--actor", "Mustermann@hospital.example"),
}


@pytest.mark.parametrize("command", IN_VAIN)
def test_what_comes_to_nothing_leaves_that_it_was_tried(house, typed, command):
    with house.watching() as events:
        ended = typed(*command.split(), *IN_VAIN[command])
    assert ended.exit_code != 0
    [event] = events
    assert (event["action"], event["outcome"]) == ("request.failed", "refused")
    assert event["told"]["command"] == command
    assert event["source"] == SOURCE
    assert "Mustermann" not in str(event)


@pytest.mark.parametrize("user", ["nurse@hospital.example", "Mustermann@hospital.example"])
def test_who_may_not_leaves_that_it_was_tried(house, typed, user):
    with house.watching() as events:
        assert typed("audit", "verify", "--user", user).exit_code != 0
    [event] = events
    known = user.startswith("nurse")
    assert (event["action"], event["outcome"]) == ("request.failed", "refused")
    assert (event["actor_kind"], event["actor_id"]) == (
        ("person", house.hospital.nurse) if known else ("service", None)
    )
    assert "Mustermann" not in str(event)


def test_a_model_that_its_publisher_activates_leaves_one_refusal(house, typed):
    digest = house.new_model(published_by=house.hospital.administrator)
    with house.watching() as events:
        assert typed("models", "activate", digest, *AS_ADMINISTRATOR).exit_code != 0
    assert [(event["action"], event["outcome"]) for event in events] == [("model.activated", "refused")]


def test_a_storage_that_is_away_is_a_failure_and_no_refusal(house, typed, monkeypatch):
    monkeypatch.setenv("DERMABATCH_S3_ENDPOINT", "http://127.0.0.1:9")
    with house.watching() as events:
        assert typed("audit", "verify", *AS_ADMINISTRATOR).exit_code != 0
    [event] = events
    assert (event["action"], event["outcome"]) == ("request.failed", "failed")


@pytest.fixture
def patient(house):
    """A patient of the first department."""

    def _patient(number):
        with house.sessions.begin(department=house.hospital.department) as session:
            return find_or_create_subject(session, house.keyring, house.hospital.department, number).id

    return _patient


def test_an_erasure_is_one_event_and_so_is_one_that_was_thought_better_of(house, typed, patient):
    subject = patient("P-4711")
    with house.watching() as events:
        typed("erase-patient", *AS_ADMINISTRATOR, input="P-4711\nn\n")
    [event] = events
    assert (event["action"], event["told"]["code"]) == ("request.failed", "aborted")
    assert event["actor_id"] == house.hospital.administrator

    with house.watching() as events:
        typed("erase-patient", "--yes", *AS_ADMINISTRATOR, input="P-4711\n")
    [event] = events
    assert_fits(house, event, COMMANDS["erase-patient"])
    assert event["object_id"] == str(subject)

    with house.watching() as events:
        typed("erase-patient", "--yes", *AS_ADMINISTRATOR, input="P-4711\n")
    [event] = events
    assert (event["action"], event["outcome"]) == ("request.failed", "refused")
    assert "4711" not in str(event)


def test_a_replayed_erasure_is_one_event_and_none_is_none(house, typed, patient):
    subject = patient("P-4712")
    with house.sessions.begin(department=house.hospital.department) as session:
        row = session.get_one(Subject, subject)
        kept = {name: getattr(row, name) for name in ("lookup_hash", "patient_sealed", "wrapped_key")}
        erase_subject(session, subject, keyring=house.keyring, store=house.store, actor=TESTS)
    with house.watching() as events:
        assert typed("replay-erasures").exit_code == 0
    assert events == []
    with house.sessions.begin(department=house.hospital.department) as session:
        for name, value in {**kept, "erased_at": None}.items():
            setattr(session.get_one(Subject, subject), name, value)
    with house.watching() as events:
        assert typed("replay-erasures").exit_code == 0
    [event] = events
    assert_fits(house, event, COMMANDS["replay-erasures"])


def test_the_model_of_this_release_is_published_once(house, typed):
    typed("models", "publish-shipped")
    with house.watching() as events:
        published = json.loads(typed("models", "publish-shipped", "--json").stdout)
    assert published["digest"] == SHIPPED_MODEL.digest
    assert events == []


def assert_fits(house: House, event, line: Leaves) -> None:
    assert (event["action"], event["outcome"]) == (line.action, "success")
    assert event["actor_kind"] == line.by
    # The model of this release is published in the name of the installer, so that anybody may activate it.
    assert event["source"] in (SOURCE, "installer")
    assert event["request_id"] is None
    assert (event["department_id"] is not None) == line.in_department
    assert event["object_type"] == line.of
    if line.by == "person":
        assert event["actor_id"] in (house.hospital.nurse, house.hospital.administrator)
    assert NEW_PASSWORD not in str(event)
    assert "4711" not in str(event)
