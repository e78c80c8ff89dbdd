"""`dermabatch audit rotate-key`: a new pair of signing keys in the folder of secrets."""

import base64
import json
from pathlib import Path

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cli.replacing import replacing
from dermabatch import audit as trail
from dermabatch.errors import InvalidRequest


@click.command("rotate-key")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
def rotate_key(folder: Path) -> None:
    """Replace signing_key and verify_key in FOLDER by a new pair, and add the old public key to retired_verify_keys.

    The old private key is gone afterwards. Start every program again: the scheduler takes the trail over with the new
    key within a minute, and what the old one signed stays verifiable.
    """
    old, retired = _public_key_in(folder / "verify_key"), _retired_in(folder / "retired_verify_keys")
    new = Ed25519PrivateKey.generate()
    public_key = new.public_key().public_bytes_raw()
    contents = {
        "retired_verify_keys": json.dumps([*retired, _base64(old)]),
        "verify_key": _base64(public_key),
        "signing_key": _base64(new.private_bytes_raw()),
    }
    for name, content in contents.items():
        with replacing(folder / name) as path:
            path.write_text(content, encoding="utf-8")
            path.chmod(0o444)
    click.echo(f"The key {trail.key_id(old)} is replaced by {trail.key_id(public_key)}.")


def _public_key_in(path: Path) -> bytes:
    try:
        key = base64.b64decode(path.read_text(encoding="utf-8").strip(), validate=True)
    except (OSError, ValueError):
        key = b""
    if len(key) != 32:
        raise InvalidRequest(f"Expected {path} to hold the present public key, 32 bytes as base64.")
    return key


def _retired_in(path: Path) -> list[str]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, ValueError):
        known = None
    if not isinstance(known, list):
        raise InvalidRequest(f"Expected {path} to hold a JSON list of public keys.")
    return known


def _base64(key: bytes) -> str:
    return base64.b64encode(key).decode()
