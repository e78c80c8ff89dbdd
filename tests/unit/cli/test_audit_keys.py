"""`dermabatch audit rotate-key`: a new pair, and the old public key to go on with."""

import base64
import json

import pytest
from click.testing import CliRunner

from cli.main import dermabatch
from cli.new_secrets import new_secrets
from dermabatch.errors import InvalidRequest
from dermabatch.settings import RegistrySettings


@pytest.fixture
def secrets(tmp_path):
    folder = tmp_path / "secrets"
    CliRunner().invoke(new_secrets, [str(folder)])
    return folder


def rotate(folder):
    result = CliRunner().invoke(dermabatch, ["audit", "rotate-key", str(folder)])
    if result.exception:
        raise result.exception


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_new_pair_takes_the_place_of_the_old_one_which_is_remembered(secrets):
    before = contents(secrets)
    rotate(secrets)
    after = contents(secrets)
    changed = {name for name in after if before[name] != after[name]}
    assert changed == {"signing_key", "verify_key", "retired_verify_keys"}
    assert json.loads(after["retired_verify_keys"]) == [before["verify_key"]]
    assert (secrets / "signing_key").stat().st_mode & 0o777 == 0o444


def test_programs_read_what_it_writes(secrets, tmp_path):
    before = contents(secrets)
    rotate(secrets)
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    for name in ("signing_key", "verify_key", "retired_verify_keys"):
        (mounted / f"dermabatch_{name}").write_text((secrets / name).read_text())
    others = {name: "x" for name in ("database_url", "s3_endpoint", "s3_access_key", "s3_secret_key")}
    settings = RegistrySettings(**others, _secrets_dir=mounted)
    assert settings.retired_verify_keys == (base64.b64decode(before["verify_key"]),)


def test_keys_that_were_replaced_before_are_kept(secrets):
    first = contents(secrets)["verify_key"]
    rotate(secrets)
    second = contents(secrets)["verify_key"]
    rotate(secrets)
    assert json.loads(contents(secrets)["retired_verify_keys"]) == [first, second]


def test_a_folder_without_a_key_is_left_alone(tmp_path):
    with pytest.raises(InvalidRequest, match="verify_key"):
        rotate(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_list_that_is_none_is_not_overwritten(secrets):
    (secrets / "retired_verify_keys").chmod(0o644)
    (secrets / "retired_verify_keys").write_text("AAAA")
    before = contents(secrets)
    with pytest.raises(InvalidRequest, match="JSON list"):
        rotate(secrets)
    assert contents(secrets) == before
