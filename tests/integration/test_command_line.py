"""The commands that read and change what the database holds, run in this process against real services."""

import csv
import io
import json
import time
from datetime import timedelta
from uuid import uuid4

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from cli.main import dermabatch
from dermabatch import accounts
from dermabatch.accounts import Origin, SessionLimits, second_factor
from dermabatch.accounts.sessions import open_session
from dermabatch.errors import ConfigurationError, Conflict, DermabatchError, InvalidRequest, NotFound
from dermabatch.lifecycle import ImageState
from dermabatch.objects import S3ObjectStore
from dermabatch.schema import Batch, Image, User
from dermabatch.settings import Settings
from dermabatch.subjects import KeyRing
from dermabatch.triage import Triage
from tests.situations import (
    TESTS,
    File,
    batch_with_results,
    register_active_model,
    write_artifact,
)

NURSE = ("--user", "nurse@hospital.example")
ADMINISTRATOR = ("--user", "admin@hospital.example")
FILES = [
    File("soon.jpg", Triage.SOON, 0.3),
    File("[red]=urgent.jpg", Triage.URGENT, 0.7),
    File("waiting.jpg"),
    File("letter.docx", reason="This is not an image."),
]


@pytest.fixture
def settings(monkeypatch, services, database):
    """Of a command line that reaches this test's database and a bucket of its own."""
    values = services.environment("web", database.name) | {"DERMABATCH_S3_BUCKET": f"test-{uuid4()}"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("DERMABATCH_USER", raising=False)
    settings = Settings()
    S3ObjectStore.from_settings(settings).ensure_bucket()
    return settings


@pytest.fixture
def run(settings, hospital):
    """Runs a command; returns its result, whose errors are raised unless they only end the program."""

    def _run(*words, code=0, **kwargs):
        result = CliRunner().invoke(dermabatch, [str(word) for word in words], **kwargs)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    return _run


@pytest.fixture
def run_json(run):
    """Runs a command with --json and returns the one object on standard output."""

    def _run_json(*words, **kwargs):
        return json.loads(run(*words, "--json", **kwargs).stdout)

    return _run_json


@pytest.fixture
def batch(settings, sessions, database, hospital):
    register_active_model(sessions, hospital)
    keyring = KeyRing(settings.master_key)
    return batch_with_results(sessions, database.sessions("worker"), hospital, keyring, FILES)


def test_results_are_shown_as_a_table_that_takes_no_orders_from_file_names(run, batch):
    shown = run("results", batch, *NURSE, env={"COLUMNS": "160"}).stdout
    assert shown.index("[red]=urgent.jpg") < shown.index("soon.jpg") < shown.index("letter.docx")
    assert "This is not an image." in shown
    assert "4 received: 1 pending, 2 classified, 1 rejected" in shown
    assert "Not a medical device" in shown


def test_results_as_json_are_one_object(run_json, batch):
    answer = run_json("results", batch, *NURSE)
    assert answer["batch"] == str(batch)
    assert answer["states"]["classified"] == 2
    assert [row["triage"] for row in answer["results"]] == ["urgent", "soon", None, None]
    assert answer["models"] == {"ab" * 32: 2}


def test_the_environment_may_name_the_user(run, batch, monkeypatch):
    monkeypatch.setenv("DERMABATCH_USER", NURSE[1])
    assert "urgent.jpg" in run("results", batch, env={"COLUMNS": "160"}).stdout


def test_results_go_to_a_file(run, batch, tmp_path):
    run("results", batch, "--format", "isic", "--out", tmp_path / "scores.csv", *NURSE)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "scores.csv").read_text())))
    assert [row["image"] for row in rows] == ["[red]=urgent", "soon"]


def test_failed_images_end_results_with_exit_code_1(run, batch, database):
    with database.sessions("worker").begin() as session:
        image = session.query(Image).filter_by(batch_id=batch, state=ImageState.PENDING).one()
        image.state, image.reason_code, image.reason = ImageState.FAILED, "stopped", "It stopped three times."
    assert "It stopped three times." in run("results", batch, *NURSE, code=1, env={"COLUMNS": "160"}).stdout
    assert "1 failed" in run("retry", batch, *NURSE).stdout
    run("results", batch, *NURSE, code=0)


def test_a_cancelled_batch_keeps_what_was_classified(run_json, batch, sessions, hospital):
    assert run_json("cancel", batch, *NURSE) == {"batch": str(batch), "cancelled": 1}
    with sessions.begin(department=hospital.department) as session:
        assert session.get(Batch, batch).cancelled_at is not None


@pytest.mark.parametrize(
    "who", ["other@hospital.example", "admin@hospital.example", "nobody@hospital.example"]
)
@pytest.mark.parametrize("command", ["results", "cancel", "retry"])
def test_a_batch_is_only_for_staff_of_its_department(run, batch, command, who):
    with pytest.raises(DermabatchError):
        run(command, batch, "--user", who)


def test_wrong_words_end_with_exit_code_2(run):
    run("results", "not-a-batch", *NURSE, code=2)
    run("results", uuid4(), code=2)
    run("models", "served-at", "yesterday", code=2)


def test_a_user_is_added_listed_changed_and_disabled(run_json):
    added = run_json(
        "users", "add", "New@Hospital.example", "--name", "New", "--role", "staff", "--generate-password"
    )
    assert added["email"] == "new@hospital.example"
    assert len(added["password"]) >= accounts.MIN_PASSWORD_LENGTH
    assert run_json("users", "roles", "new@hospital.example", "administrator")["roles"] == ["administrator"]
    assert not run_json("users", "disable", "new@hospital.example", *ADMINISTRATOR)["active"]
    listed = {user["email"]: user for user in run_json("users", "list")["users"]}
    assert listed["new@hospital.example"]["active"] is False
    assert listed[accounts.INSTALLER]["service"] is True
    assert run_json("users", "enable", "new@hospital.example")["active"]


def test_a_new_department_gets_people_of_its_own(run_json, run):
    assert run_json("users", "add-department", "Oncology", *ADMINISTRATOR)["name"] == "Oncology"
    added = run_json(
        *("users", "add", "o@hospital.example", "--name", "O.", "--role", "staff"),
        *("--department", "Oncology", "--generate-password", *ADMINISTRATOR),
    )
    assert added["department"] == "Oncology"
    with pytest.raises(Conflict, match="Oncology, which exists"):
        run("users", "add-department", "Oncology", *ADMINISTRATOR)


def test_a_command_whose_extra_is_missing_says_which(run, monkeypatch):
    def without_it(_module):
        raise ModuleNotFoundError("No module named 'openvino'", name="openvino")

    monkeypatch.setattr("cli.main.import_module", without_it)
    with pytest.raises(ConfigurationError, match=r"dermabatch\[openvino\]"):
        run("bench")


def test_only_an_administrator_acts_on_users(run):
    with pytest.raises(DermabatchError, match="administrator"):
        run("users", "disable", "other@hospital.example", *NURSE)


def test_somebody_is_signed_out_and_helped_in_again(run, run_json, sessions, hospital, audited):
    limits = SessionLimits(idle=timedelta(hours=1), absolute=timedelta(hours=1))
    keyring = KeyRing(bytes(32))
    with sessions.begin() as session:
        nurse = session.get(User, hospital.nurse)
        token = open_session(session, nurse, complete=True, origin=Origin("10.0.0.7"), limits=limits)
        second_factor.prepare(session, keyring, nurse, actor=TESTS)
        secret = second_factor.prepared_secret(session, keyring, nurse)
        code = TOTP(secret, 6, SHA1(), 30).generate(time.time()).decode()
        assert second_factor.confirm(session, keyring, nurse, code, actor=TESTS)

    assert run_json("users", "sign-out", NURSE[1], *ADMINISTRATOR)["sessions_ended"] == 1
    run_json("users", "reset-second-factor", NURSE[1], *ADMINISTRATOR)
    run_json("users", "forget-guesses", NURSE[1], *ADMINISTRATOR)

    with sessions.begin() as session:
        assert accounts.find_session(session, token, limits=limits, in_use=False) is None
        assert not second_factor.is_enrolled(session, hospital.nurse)
    actions = ("session.ended", "second_factor.removed", "user.changed")
    assert [len(audited(action)) for action in actions] == [1, 1, 1]
    with pytest.raises(NotFound, match="no second factor"):
        run("users", "reset-second-factor", NURSE[1])


def test_a_password_that_others_would_try_is_refused(run):
    words = ("users", "add", "new@hospital.example", "--name", "New", "--role", "staff", "--password-stdin")
    with pytest.raises(InvalidRequest, match="too easy to guess"):
        run(*words, input="password1234\n")


def test_a_password_comes_from_standard_input(run_json):
    words = ("users", "add", "new@hospital.example", "--name", "New", "--role", "staff", "--password-stdin")
    assert "password" not in run_json(*words, input="a long enough password\n")


def test_a_token_is_made_listed_and_revoked(run, run_json, sessions):
    made = run_json("users", "token", NURSE[1], "--name", "night", "--scope", "batches:read", "--days", "30")
    (listed,) = run_json("users", "tokens", NURSE[1])["tokens"]
    assert (listed["name"], listed["scopes"], listed["revoked_at"]) == ("night", ["batches:read"], None)
    assert made["token"] not in run("users", "tokens", NURSE[1]).stdout
    assert run_json("users", "revoke", listed["id"])["revoked_at"]
    with sessions.begin() as session:
        assert accounts.authenticate(session, made["token"]) is None


def test_a_model_is_published_compared_activated_and_rolled_back(run, run_json, tmp_path):
    first = run_json("publish", write_artifact(tmp_path / "a", name="a", bma=0.7), *NURSE)["digest"]
    second = run_json("publish", write_artifact(tmp_path / "b", name="b", bma=0.9), *NURSE)["digest"]
    compared = run_json("models", "compare", first[:8], second[:8])["models"]
    assert [model["metrics"]["bma"] for model in compared] == [0.7, 0.9]
    assert "0.900" in run("models", "compare", first, second).stdout

    assert run_json("models", "activate", first[:8], *ADMINISTRATOR)["model_digest"] == first
    assert run_json("models", "activate", second[:8], *ADMINISTRATOR)["model_digest"] == second
    assert run_json("models", "rollback", *ADMINISTRATOR)["returned"] is True
    states = {model["digest"]: model["state"] for model in run_json("models", "list")["models"]}
    assert states == {first: "active", second: "retired"}

    shown = run_json("models", "show", first)
    assert [activation["returned"] for activation in shown["activations"]] == [True, False]
    assert run_json("models", "served-at", "2000-01-01")["served"] is None
    assert run_json("models", "served-at", "2999-01-01")["served"]["model_digest"] == first
    for words in (("list",), ("show", first), ("served-at", "2999-01-01"), ("served-at", "2000-01-01")):
        assert run("models", *words).stdout


def test_whoever_published_a_model_cannot_activate_it(run, run_json, tmp_path):
    digest = run_json("publish", write_artifact(tmp_path / "a"), *ADMINISTRATOR)["digest"]
    with pytest.raises(DermabatchError, match="second person"):
        run("models", "activate", digest, *ADMINISTRATOR)
