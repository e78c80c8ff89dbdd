import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

from cli.new_secrets import new_secrets

ROOT = Path(__file__).parents[3]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
PROGRAMS = ("migrate", "webui", "worker", "worker-gpu", "scheduler", "training")
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
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    target = SERVICES[name]["build"]["target"]
    assert re.search(rf"^FROM runtime AS {re.escape(target)}$", dockerfile, re.MULTILINE)
    assert re.search(r"^USER 10001", dockerfile, re.MULTILINE)


def test_the_portals_image_holds_no_framework():
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    stage = dockerfile.split("AS build-portal")[1].split("FROM")[0]
    assert "--extra" not in stage


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


def test_nobody_else_may_read_a_secret(secrets):
    assert {path.stat().st_mode & 0o777 for path in secrets.iterdir()} == {0o600}


def test_secrets_are_never_overwritten(secrets):
    before = (secrets / "master_key").read_text(encoding="utf-8")
    assert CliRunner().invoke(new_secrets, [str(secrets)]).exit_code != 0
    assert (secrets / "master_key").read_text(encoding="utf-8") == before


def test_no_password_stands_in_the_file():
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    assert not re.search(r"(PASSWORD|SECRET|KEY)\w*: (?!/run/secrets)\S", text)
