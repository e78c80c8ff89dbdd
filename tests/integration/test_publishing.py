"""`dermabatch publish` and `models compare`, with models that see the colours of painted lesions."""

import json
from uuid import uuid4

import numpy as np
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from cli.main import dermabatch
from cli.publishing import publish_trained, publisher
from dermabatch import accounts
from dermabatch.errors import ConfigurationError, Conflict, InvalidRequest
from dermabatch.objects import S3ObjectStore
from dermabatch.settings import RegistrySettings
from tests.colour_model import fitted_weights, write_colour_model
from tests.painted_lesions import write_painted_lesions
from tests.situations import open_hospital
from training import gate
from training.data import read_samples
from training.split import Side, split_by_lesion, split_table

ENGINEER = ("--user", "nurse@hospital.example")
ADMINISTRATOR = ("--user", "admin@hospital.example")
OF_THE_REGISTRY = (
    *("DATABASE_URL", "SIGNING_KEY", "VERIFY_KEY"),
    *("S3_ENDPOINT", "S3_BUCKET", "S3_ACCESS_KEY", "S3_SECRET_KEY"),
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dataset")
    write_painted_lesions(folder)
    return folder


@pytest.fixture(scope="module")
def split(dataset, tmp_path_factory):
    """Every lesion that a run would train on is held out too: there are few."""
    samples = read_samples(dataset)
    path = tmp_path_factory.mktemp("split") / "split.csv"
    path.write_text(split_table(samples, split_by_lesion(samples, 7)).replace("train", "test"))
    return path


@pytest.fixture(scope="module")
def weights(dataset):
    return fitted_weights(read_samples(dataset))


@pytest.fixture
def artifact(tmp_path, dataset, split, weights, monkeypatch):
    """Makes an artifact with this name, which only OpenVINO serves."""
    monkeypatch.setattr(gate, "installed_engines", lambda: ("openvino",))
    digest = gate.read_held_out(dataset, split, Side.TEST).split_digest

    def _artifact(name, *, spoiled=False, split_digest=digest):
        noise = np.random.default_rng(5).normal(0, 8, weights.shape).astype(np.float32)
        return write_colour_model(
            tmp_path / name, weights + noise * spoiled, name=name, split_digest=split_digest
        ).folder

    return _artifact


@pytest.fixture
def environment(monkeypatch, services, database):
    """What the training job is given, and no more: no master key, no Redis, no salt, and the trainer's role."""
    open_hospital(database.sessions("web"))
    values = services.environment("trainer", database.name) | {"DERMABATCH_S3_BUCKET": f"test-{uuid4()}"}
    for name in OF_THE_REGISTRY:
        monkeypatch.setenv(f"DERMABATCH_{name}", values[f"DERMABATCH_{name}"])
    S3ObjectStore.from_settings(RegistrySettings()).ensure_bucket()


@pytest.fixture
def run(environment):
    """Runs a command as the trainer's role."""

    def _run(*words, code=0):
        result = CliRunner().invoke(dermabatch, [str(word) for word in words])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result.stdout

    return _run


@pytest.fixture
def serving(run, artifact, database, services, monkeypatch):
    """A model that is active."""
    digest = json.loads(run("publish", artifact("serving"), *ENGINEER, "--json"))["digest"]
    with monkeypatch.context() as patch:
        for name, value in services.environment("web", database.name).items():
            if name != "DERMABATCH_S3_BUCKET":
                patch.setenv(name, value)
        run("models", "activate", digest, *ADMINISTRATOR)
    return digest


@pytest.fixture
def held_out(dataset, split):
    return ("--data", dataset, "--split", split)


def states(database):
    with database.sessions("web").begin() as session:
        return dict(session.execute(sa.text("SELECT name, state FROM models")).all())


def test_without_an_active_model_there_is_nothing_to_compare_with(run, artifact, database):
    said = run("publish", artifact("first"), *ENGINEER)
    assert "is candidate" in said
    assert "not compared" in said
    assert states(database) == {"first": "candidate"}


def test_a_model_that_is_no_worse_becomes_a_candidate_and_its_figures_are_shown(
    run, serving, artifact, held_out, database
):
    said = run("publish", artifact("candidate"), *held_out, *ENGINEER)
    assert "It passes the gate." in said
    assert "melanoma flagged" in said
    assert "By the picture alone" in said
    assert states(database) == {"serving": "active", "candidate": "candidate"}


def test_a_worse_model_is_rejected_and_the_command_ends_with_1(run, serving, artifact, held_out, database):
    described = json.loads(
        run("publish", artifact("worse", spoiled=True), *held_out, *ENGINEER, "--json", code=1)
    )
    assert described["state"] == "rejected"
    assert described["gate"]["passed"] is False
    assert described["gate"]["active"] == serving
    failed = [check["name"] for check in described["gate"]["checks"] if not check["passed"]]
    assert "bma" in failed
    assert states(database) == {"serving": "active", "worse": "rejected"}


def test_while_a_model_serves_nobody_forgets_the_gate_by_accident(run, serving, artifact, database):
    with pytest.raises(InvalidRequest, match="--not-compared"):
        run("publish", artifact("candidate"), *ENGINEER)
    assert states(database) == {"serving": "active"}
    assert "not compared" in run("publish", artifact("candidate"), "--not-compared", *ENGINEER)
    assert states(database) == {"serving": "active", "candidate": "candidate"}


def test_half_of_the_held_out_images_options_is_refused(run, artifact, dataset):
    with pytest.raises(InvalidRequest, match="--data and --split together"):
        run("publish", artifact("candidate"), "--data", dataset, *ENGINEER)


def test_the_active_model_is_not_compared_with_itself(run, serving, tmp_path, held_out):
    with pytest.raises(Conflict, match="another model than the active one"):
        run("publish", tmp_path / "serving", *held_out, *ENGINEER)


def test_a_model_of_another_split_is_refused_until_somebody_answers_for_it(
    run, serving, artifact, held_out, database
):
    foreign = artifact("foreign", split_digest="f" * 64)
    with pytest.raises(InvalidRequest, match="--other-split"):
        run("publish", foreign, *held_out, *ENGINEER)
    assert states(database) == {"serving": "active"}
    said = run("publish", foreign, *held_out, "--other-split", *ENGINEER)
    assert "may know some of these images" in said


def test_the_training_job_publishes_as_a_service_what_a_person_activates(
    environment, serving, artifact, dataset, split, database, capsys
):
    with publisher(accounts.TRAINER) as publishing:
        publish_trained(artifact("trained"), dataset, split, publishing)
    assert "It passes the gate." in capsys.readouterr().out
    assert states(database) == {"serving": "active", "trained": "candidate"}


def test_a_job_that_cannot_sign_says_so_before_it_trains(environment, monkeypatch):
    monkeypatch.delenv("DERMABATCH_SIGNING_KEY")
    with pytest.raises(ConfigurationError, match="DERMABATCH_SIGNING_KEY"), publisher(accounts.TRAINER):
        pytest.fail("it goes on without a key")


def test_two_published_models_are_measured_on_the_same_images(
    run, serving, artifact, held_out, services, database, monkeypatch
):
    other = json.loads(
        run("publish", artifact("other", spoiled=True), "--not-compared", *ENGINEER, "--json")
    )["digest"]
    for name, value in services.environment("web", database.name).items():
        if name != "DERMABATCH_S3_BUCKET":
            monkeypatch.setenv(name, value)
    measured = json.loads(run("models", "compare", other, serving, *held_out, "--json"))
    assert measured["passed"] is False
    alone = measured["compared"]["picture_alone"]
    assert alone["candidate"]["bma"] < alone["active"]["bma"]
    assert "The gate refuses it" in run("models", "compare", other, serving, *held_out)
    assert states(database)["other"] == "candidate"
