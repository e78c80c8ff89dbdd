import base64
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dermabatch.database_roles import LOGIN_ROLES
from dermabatch.embedded import credentials


def test_credentials_are_made_once_and_kept_for_their_owner(tmp_path):
    path = tmp_path / "secrets.json"

    made = credentials.load_or_create(path)

    assert credentials.load_or_create(path) == made
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_half_written_file_of_an_interrupted_start_is_replaced(tmp_path):
    (tmp_path / "secrets.partial").write_text("{")

    assert credentials.load_or_create(tmp_path / "secrets.json").redis_password


def test_every_role_has_a_password_of_its_own_and_every_key_32_bytes(tmp_path):
    made = credentials.load_or_create(Path(tmp_path) / "secrets.json")

    assert len(set(made.postgres_passwords.values())) == len(made.postgres_passwords)
    assert set(made.postgres_passwords) == {"postgres", *LOGIN_ROLES}
    keys = [base64.b64decode(key) for key in (made.master_key, made.signing_key, made.verify_key)]
    assert [len(key) for key in keys] == [32, 32, 32]
    assert Ed25519PrivateKey.from_private_bytes(keys[1]).public_key().public_bytes_raw() == keys[2]
