"""`dermabatch new-secrets`: the files that docker-compose.yml hands to the programs."""

import base64
import secrets
from pathlib import Path

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dermabatch import database_roles
from dermabatch.errors import Conflict

_DATABASE = "postgres:5432/dermabatch"


@click.command("new-secrets")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path("secrets"))
def new_secrets(folder: Path) -> None:
    """Write fresh keys and passwords into FOLDER, one file each, for docker compose.

    Back the folder up apart from the data: without `master_key` no stored image can be read again. Only you can look
    into it; the files themselves are readable, because compose mounts each into its containers as it is.
    """
    if folder.exists() and any(folder.iterdir()):
        raise Conflict(
            f"{folder} is not empty. Existing secrets are never overwritten: choose another folder."
        )
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    for name, value in _generate().items():
        path = folder / name
        path.write_text(value, encoding="utf-8")
        # The containers' users (10001, 999 and others) are nobody on the host; the folder keeps everybody else out.
        path.chmod(0o444)
    click.echo(f"Wrote new secrets into {folder}.", err=True)


def _generate() -> dict[str, str]:
    passwords = {role: secrets.token_urlsafe(24) for role in ("postgres", *database_roles.LOGIN_ROLES)}
    urls = {
        f"{role.removeprefix('dermabatch_')}_url": f"postgresql+psycopg2://{role}:{password}@{_DATABASE}"
        for role, password in passwords.items()
        if role != "postgres"
    }
    redis_password = secrets.token_urlsafe(24)
    s3_access_key, s3_secret_key = secrets.token_hex(10), secrets.token_urlsafe(30)
    signing_key = Ed25519PrivateKey.generate()
    return {
        **urls,
        "postgres_password": passwords["postgres"],
        "superuser_url": f"postgresql+psycopg2://postgres:{passwords['postgres']}@postgres:5432/postgres",
        "redis_password": redis_password,
        "redis_url": f"redis://:{redis_password}@redis:6379/0",
        "s3_access_key": s3_access_key,
        "s3_secret_key": s3_secret_key,
        "master_key": _base64(secrets.token_bytes(32)),
        "signing_key": _base64(signing_key.private_bytes_raw()),
        "verify_key": _base64(signing_key.public_key().public_bytes_raw()),
        "retired_verify_keys": "[]",
        "secret_key": secrets.token_urlsafe(32),
        "password_salt": secrets.token_urlsafe(16),
    }


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
