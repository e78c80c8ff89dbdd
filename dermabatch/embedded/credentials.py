"""Credentials and keys of one embedded installation, made once and kept beside its data."""

import base64
import json
import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel

from dermabatch.database_roles import LOGIN_ROLES


class Credentials(BaseModel, frozen=True):
    """Passwords as URL-safe text; keys as base64 of 32 bytes."""

    postgres_passwords: dict[str, str]
    redis_password: str
    s3_access_key: str
    s3_secret_key: str
    master_key: str
    signing_key: str
    verify_key: str
    secret_key: str
    password_salt: str


def load_or_create(path: Path) -> Credentials:
    """What is in `path`, which only its owner can read; made and written there if it does not exist.

    A role that is younger than the file gets its password now.
    """
    if not path.exists():
        return _written(_generate(), path)
    known = Credentials.model_validate_json(path.read_bytes())
    passwords = _passwords() | known.postgres_passwords
    if passwords == known.postgres_passwords:
        return known
    return _written(known.model_copy(update={"postgres_passwords": passwords}), path)


def _written(made: Credentials, path: Path) -> Credentials:
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(made.model_dump(), file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
    return made


def _passwords() -> dict[str, str]:
    return {role: secrets.token_urlsafe(24) for role in ("postgres", *LOGIN_ROLES)}


def _generate() -> Credentials:
    signing_key = Ed25519PrivateKey.generate()
    return Credentials(
        postgres_passwords=_passwords(),
        redis_password=secrets.token_urlsafe(24),
        s3_access_key=secrets.token_hex(10),
        s3_secret_key=secrets.token_urlsafe(30),
        master_key=_base64(secrets.token_bytes(32)),
        signing_key=_base64(signing_key.private_bytes_raw()),
        verify_key=_base64(signing_key.public_key().public_bytes_raw()),
        secret_key=secrets.token_urlsafe(32),
        password_salt=secrets.token_urlsafe(24),
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
