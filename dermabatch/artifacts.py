"""The model artifact: a folder of files, and the manifest that vouches for each of them.

Trust goes one way: a pinned digest or a signature vouches for the bytes of the manifest, the manifest for the
bytes of every other file. Until both steps are done no parser of a model format sees a byte. Artifacts hold
no code and no pickles: the architecture is built by `dermabatch.networks` from the name in the manifest.
"""

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from dermabatch.architectures import ARCHITECTURES
from dermabatch.errors import ArtifactRefused
from dermabatch.imaging.preprocess import PREPROCESSING_VERSION
from dermabatch.manifest import MANIFEST, SIGNATURE, Manifest, parse_manifest

MAX_MANIFEST_BYTES: Final = 256 * 1024
SIGNATURE_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class Artifact:
    """A folder that passed every check of `read_artifact`."""

    folder: Path
    manifest: Manifest
    digest: str

    def read(self, name: str) -> bytes:
        """The bytes of one file, checked once more as they are read. See `read_member`."""
        return read_member(self.folder, self.manifest, name)


def read_artifact(
    folder: Path,
    *,
    expected_digest: str | None,
    verify_key: bytes | None,
    retired_keys: Sequence[bytes] = (),
) -> Artifact:
    """Check a model artifact and return what its manifest says.

    Args:
        folder: holds `manifest.json`, exactly the files that it lists and, where published, `manifest.sig`.
        expected_digest: the model digest pinned by the caller.
        verify_key: the installation's public Ed25519 key, 32 bytes; demands `manifest.sig`.
            With neither only the files are checked against the manifest: right for nothing but a folder
            that the person at the keyboard has named.
        retired_keys: public keys that `verify_key` has replaced; what they signed stays valid.

    Raises:
        ArtifactRefused: the first check that failed; says what was expected and what came.
    """
    manifest_bytes = _read_regular(folder / MANIFEST, limit=MAX_MANIFEST_BYTES)
    digest = hashlib.sha256(manifest_bytes).hexdigest()
    if expected_digest is not None and digest != expected_digest:
        raise ArtifactRefused(f"Expected the model {expected_digest}. Received: {digest} in {folder}")
    if verify_key is not None:
        signature = _read_regular(folder / SIGNATURE, limit=SIGNATURE_BYTES)
        verify_manifest(manifest_bytes, signature, verify_key, *retired_keys)
    manifest = parse_manifest(manifest_bytes)
    if manifest.network.name not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ArtifactRefused(f"Expected a network of: {known}. Received: {manifest.network.name}")
    if manifest.preprocessing_version != PREPROCESSING_VERSION:
        raise ArtifactRefused(
            f"Expected preprocessing {PREPROCESSING_VERSION}. Received: {manifest.preprocessing_version}"
        )
    _check_files(folder, manifest)
    return Artifact(folder, manifest, digest)


def read_member(folder: Path, manifest: Manifest, name: str) -> bytes:
    """Read one file of an artifact for a parser, which so sees exactly the bytes that were checked.

    Raises:
        ArtifactRefused: the file is not listed, not regular, or not of the listed length and SHA-256.
    """
    record = manifest.files.get(name)
    if record is None:
        raise ArtifactRefused(f"Expected one of the files {sorted(manifest.files)}. Received: {name}")
    content = _read_regular(folder / name, limit=record.bytes)
    if len(content) != record.bytes:
        raise ArtifactRefused(f"Expected {record.bytes} bytes of {name}. Received: {len(content)}")
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != record.sha256:
        raise ArtifactRefused(f"Expected SHA-256 {record.sha256} of {name}. Received: {sha256}")
    return content


def sign_manifest(manifest_bytes: bytes, signing_key: bytes) -> bytes:
    """The content of `manifest.sig`: 64 bytes of Ed25519, made with a 32-byte seed."""
    return Ed25519PrivateKey.from_private_bytes(signing_key).sign(manifest_bytes)


def verify_manifest(manifest_bytes: bytes, signature: bytes, *verify_keys: bytes) -> None:
    """Check a signature of `sign_manifest` with 32-byte public keys, any of which may fit.

    Raises:
        ArtifactRefused: the signature is another key's, or another manifest's.
    """
    for verify_key in verify_keys:
        with contextlib.suppress(InvalidSignature):
            Ed25519PublicKey.from_public_bytes(verify_key).verify(signature, manifest_bytes)
            return
    raise ArtifactRefused(
        "Expected a manifest signed by this installation's key. Received: a signature that does not fit"
    )


def _check_files(folder: Path, manifest: Manifest) -> None:
    present = set(_names(folder)) - {MANIFEST, SIGNATURE}
    if extra := present - manifest.files.keys():
        raise ArtifactRefused(f"Expected only the files in the manifest. Received: also {sorted(extra)}")
    for name in manifest.files:
        read_member(folder, manifest, name)


def _names(folder: Path) -> Iterator[str]:
    """Relative names of everything below `folder` that is not a folder; links are not followed."""
    for parent, folders, files in os.walk(folder):
        for name in files:
            yield (Path(parent) / name).relative_to(folder).as_posix()
        for name in folders:
            if (Path(parent) / name).is_symlink():
                raise ArtifactRefused(f"Expected folders and files. Received: the link {name}")


def _read_regular(path: Path, *, limit: int) -> bytes:
    """At most `limit` bytes of a regular file; a link, a pipe or a longer file is refused unread."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ArtifactRefused(f"Expected the file {path.name}. Received: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ArtifactRefused(f"Expected {path.name} to be a regular file. Received: something else")
        if status.st_size > limit:
            raise ArtifactRefused(
                f"Expected at most {limit} bytes of {path.name}. Received: {status.st_size}"
            )
        return file.read(limit)
