import json
import re
import shutil
from pathlib import Path

import jsonschema
import pytest
import sqlalchemy as sa
import yaml
from click.testing import CliRunner

from cli.migrate import MigrationSettings
from cli.new_secrets import new_secrets
from dermabatch.database_roles import TRAINER
from dermabatch.production import RULES
from dermabatch.settings import RegistrySettings, Settings
from worker.training_schedule import TrainingSchedule

ROOT = Path(__file__).parents[3]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
SERVICES = COMPOSE["services"]
PROGRAMS = (
    "migrate",
    "webui",
    "operator",
    "worker",
    "worker-gpu",
    "scheduler",
    "nights",
    "training",
    "training-scheduler",
)
ALSO_OF_TRAINING = ("s3_access_key", "s3_secret_key", "verify_key", "retired_verify_keys", "signing_key")
DATA_SERVICES = ("postgres", "redis", "seaweedfs")


def test_the_file_follows_the_compose_specification():
    schema = json.loads((Path(__file__).parent / "compose-spec.json").read_text(encoding="utf-8"))
    errors = jsonschema.Draft7Validator(schema).iter_errors(COMPOSE)
    assert [error.message for error in errors] == []


def test_every_part_of_the_system_is_there():
    assert set(SERVICES) == {*PROGRAMS, *DATA_SERVICES}


@pytest.mark.parametrize("name", DATA_SERVICES)
def test_what_holds_data_is_unreachable_from_outside(name):
    assert "ports" not in SERVICES[name]
    assert SERVICES[name]["networks"] == ["data"]
    assert COMPOSE["networks"]["data"]["internal"] is True


@pytest.mark.parametrize("name", [*DATA_SERVICES, "webui", "worker", "worker-gpu", "scheduler"])
def test_every_service_says_whether_it_is_well(name):
    assert SERVICES[name]["healthcheck"]["test"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_run_without_rights(name):
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True
    assert "no-new-privileges:true" in service["security_opt"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_image_that_is_built_is_a_stage_of_the_dockerfile_and_not_root(name):
    target = SERVICES[name]["build"]["target"]
    assert re.search(rf"^FROM runtime AS {re.escape(target)}$", DOCKERFILE, re.MULTILINE)
    assert re.search(r"^USER 10001", DOCKERFILE, re.MULTILINE)


def test_the_portals_image_holds_no_framework():
    stage = DOCKERFILE.split("AS build-portal")[1].split("FROM")[0]
    assert "--extra" not in stage


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_owns_the_folder_below_each_of_its_volumes(name):
    """A new named volume takes its owner from the image; one over a missing folder would belong to root."""
    mounted = [volume.split(":") for volume in SERVICES[name].get("volumes", [])]
    owned = re.search(r"install -d -m 0700 -o dermabatch -g dermabatch (.+)", DOCKERFILE)
    assert {path for volume, path, *_ in mounted if volume in COMPOSE["volumes"]} <= set(owned[1].split())


def test_uploads_go_to_disk_and_not_into_the_memory_of_a_tmpfs():
    webui = SERVICES["webui"]
    assert f"spool:{webui['environment']['TMPDIR']}" in webui["volumes"]


@pytest.fixture
def secrets(tmp_path):
    """The folder that `dermabatch new-secrets` fills."""
    folder = tmp_path / "secrets"
    assert CliRunner().invoke(new_secrets, [str(folder)]).exit_code == 0
    return folder


def test_every_secret_that_is_used_is_declared_and_made(secrets):
    used = {
        secret if isinstance(secret, str) else secret["source"]
        for service in SERVICES.values()
        for secret in service.get("secrets", [])
    }
    assert used == set(COMPOSE["secrets"]) == {path.name for path in secrets.iterdir()}


def test_only_their_owner_reaches_the_secrets_and_every_container_reads_those_it_is_given(secrets):
    """Compose mounts files as they are, and the users of the containers own nothing on the host."""
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in secrets.iterdir()} == {0o444}


def test_a_folder_that_was_open_is_closed(tmp_path):
    tmp_path.chmod(0o755)
    assert CliRunner().invoke(new_secrets, [str(tmp_path)]).exit_code == 0
    assert tmp_path.stat().st_mode & 0o777 == 0o700


@pytest.fixture
def as_in_the_container(secrets, tmp_path, monkeypatch):
    """Gives a service's environment to this process, and the folder that it would find as /run/secrets."""

    def _as_in_the_container(name):
        for variable, value in SERVICES[name]["environment"].items():
            monkeypatch.setenv(variable, value)
        mounted = tmp_path / name
        mounted.mkdir()
        for secret in SERVICES[name]["secrets"]:
            shutil.copy(secrets / secret["source"], mounted / secret["target"])
        return mounted

    return _as_in_the_container


@pytest.mark.parametrize("name", ["webui", "operator", "worker", "worker-gpu", "scheduler"])
def test_a_program_finds_every_setting_that_it_needs(name, as_in_the_container):
    settings = Settings(_secrets_dir=as_in_the_container(name))
    needed = {
        "webui": (settings.secret_key, settings.password_salt),
        "operator": (settings.password_salt, settings.signing_key),
        "scheduler": (settings.chainer_url, settings.signing_key),
    }
    assert None not in needed.get(name, ())
    assert settings.s3_endpoint == "http://seaweedfs:8333"


@pytest.mark.parametrize("name", ["training", "training-scheduler"])
def test_training_finds_what_it_needs_to_publish_and_no_key_to_a_patient(name, as_in_the_container):
    mounted = as_in_the_container(name)
    settings = RegistrySettings(_secrets_dir=mounted)
    assert settings.signing_key is not None
    assert sa.make_url(settings.database_url.get_secret_value()).username == TRAINER
    given = {secret["target"] for secret in SERVICES[name]["secrets"]}
    assert given == {f"dermabatch_{key}" for key in ("database_url", *ALSO_OF_TRAINING)}
    assert "ports" not in SERVICES[name]
    assert SERVICES[name]["networks"] == ["data"]


def test_training_by_the_clock_has_a_time_that_cron_takes(as_in_the_container):
    settings = RegistrySettings(_secrets_dir=as_in_the_container("training-scheduler"))
    assert TrainingSchedule.from_settings(settings).data == Path("/data")


def test_migrate_finds_the_way_in_of_every_role(as_in_the_container):
    settings = MigrationSettings(_secrets_dir=as_in_the_container("migrate"))
    assert settings.superuser_url is not None


@pytest.mark.parametrize("name", ["webui", "worker", "worker-gpu"])
def test_what_strangers_reach_can_sign_nothing(name, as_in_the_container):
    assert Settings(_secrets_dir=as_in_the_container(name)).signing_key is None


def test_secrets_are_never_overwritten(secrets):
    before = (secrets / "master_key").read_text(encoding="utf-8")
    assert CliRunner().invoke(new_secrets, [str(secrets)]).exit_code != 0
    assert (secrets / "master_key").read_text(encoding="utf-8") == before


@pytest.mark.parametrize("name", ["webui", "operator", "worker", "scheduler"])
def test_what_compose_starts_is_a_hospitals_and_may_start(name, as_in_the_container):
    settings = Settings(_secrets_dir=as_in_the_container(name))
    assert not settings.trial
    asking_nobody = ("passwords", "keys", "debugging", "cookies")
    assert [RULES[rule](settings) for rule in asking_nobody] == [None] * len(asking_nobody)


def test_no_password_stands_in_the_file():
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    assert not re.search(r"(PASSWORD|SECRET|KEY)\w*: (?!/run/secrets)\S", text)
