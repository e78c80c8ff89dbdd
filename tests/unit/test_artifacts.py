"""A model artifact is refused at the first doubt, before anything parses it."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dermabatch.artifacts import MAX_MANIFEST_BYTES, read_artifact, sign_manifest
from dermabatch.errors import ArtifactRefused
from dermabatch.manifest import (
    MANIFEST,
    OPENVINO_BIN,
    OUT_OF_DISTRIBUTION,
    SIGNATURE,
    WEIGHTS,
    parse_manifest,
)
from tests.situations import write_artifact

SEED = bytes(range(32))
PUBLIC = Ed25519PrivateKey.from_private_bytes(SEED).public_key().public_bytes_raw()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound artifact, not signed."""
    return write_artifact(tmp_path / "artifact")


def digest_of(folder: Path) -> str:
    return parse_manifest((folder / MANIFEST).read_bytes()).digest


def sign(folder: Path, seed: bytes = SEED) -> None:
    (folder / SIGNATURE).write_bytes(sign_manifest((folder / MANIFEST).read_bytes(), seed))


def change_manifest(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads((folder / MANIFEST).read_bytes())
    change(content)
    (folder / MANIFEST).write_text(json.dumps(content, sort_keys=True, separators=(",", ":")))


def test_a_sound_artifact_is_read_by_its_digest(folder: Path) -> None:
    artifact = read_artifact(folder, expected_digest=digest_of(folder), verify_key=None)
    assert artifact.manifest.name == "tiny-1"
    assert artifact.digest == artifact.manifest.digest
    assert artifact.read(WEIGHTS) == (folder / WEIGHTS).read_bytes()


def test_a_signed_artifact_is_read_with_the_key_of_the_installation(folder: Path) -> None:
    sign(folder)
    read_artifact(folder, expected_digest=None, verify_key=PUBLIC)


def test_another_digest_than_the_pinned_one_is_refused(folder: Path) -> None:
    with pytest.raises(ArtifactRefused, match=f"Expected the model {'0' * 64}"):
        read_artifact(folder, expected_digest="0" * 64, verify_key=None)


def test_a_missing_signature_is_refused_where_one_is_asked_for(folder: Path) -> None:
    with pytest.raises(ArtifactRefused, match=SIGNATURE):
        read_artifact(folder, expected_digest=digest_of(folder), verify_key=PUBLIC)


@pytest.mark.parametrize("signature", [b"", b"x" * 64, b"x" * 65])
def test_a_signature_that_does_not_fit_is_refused(folder: Path, signature: bytes) -> None:
    (folder / SIGNATURE).write_bytes(signature)
    with pytest.raises(ArtifactRefused, match=r"signed by this installation|at most 64 bytes"):
        read_artifact(folder, expected_digest=None, verify_key=PUBLIC)


def test_a_signature_by_another_key_is_refused(folder: Path) -> None:
    sign(folder, seed=bytes(32))
    with pytest.raises(ArtifactRefused, match="signed by this installation"):
        read_artifact(folder, expected_digest=None, verify_key=PUBLIC)


def test_a_manifest_changed_after_it_was_signed_is_refused(folder: Path) -> None:
    sign(folder)
    change_manifest(folder, lambda manifest: manifest.update(temperature=2.0))
    with pytest.raises(ArtifactRefused, match="signed by this installation"):
        read_artifact(folder, expected_digest=None, verify_key=PUBLIC)


def test_a_doubted_manifest_is_refused_before_it_is_parsed(folder: Path) -> None:
    (folder / MANIFEST).write_bytes(b"{ not json")
    with pytest.raises(ArtifactRefused, match="Expected the model"):
        read_artifact(folder, expected_digest="0" * 64, verify_key=None)


@pytest.mark.parametrize("content", [b"weights.safetensors of tiny-2", b"shorter", b"longer" * 100])
def test_a_file_that_is_not_the_listed_one_is_refused(folder: Path, content: bytes) -> None:
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(ArtifactRefused, match=WEIGHTS):
        read_artifact(folder, expected_digest=None, verify_key=None)


def test_a_file_changed_between_check_and_use_is_refused_at_its_use(folder: Path) -> None:
    artifact = read_artifact(folder, expected_digest=None, verify_key=None)
    (folder / OPENVINO_BIN).write_bytes(b"!" * len(artifact.read(OPENVINO_BIN)))
    with pytest.raises(ArtifactRefused, match=f"SHA-256 .* of {OPENVINO_BIN}"):
        artifact.read(OPENVINO_BIN)


def test_only_listed_files_can_be_read(folder: Path) -> None:
    artifact = read_artifact(folder, expected_digest=None, verify_key=None)
    with pytest.raises(ArtifactRefused, match=r"\.\./secret"):
        artifact.read("../secret")


def test_a_missing_file_is_refused(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    with pytest.raises(ArtifactRefused, match=f"Expected the file {WEIGHTS}"):
        read_artifact(folder, expected_digest=None, verify_key=None)


@pytest.mark.parametrize("extra", ["more.bin", "openvino/plugin.so", ".hidden"])
def test_a_file_that_is_not_listed_is_refused(folder: Path, extra: str) -> None:
    (folder / extra).write_bytes(b"")
    with pytest.raises(ArtifactRefused, match=extra):
        read_artifact(folder, expected_digest=None, verify_key=None)


def test_a_link_is_refused_even_to_the_right_content(folder: Path, tmp_path: Path) -> None:
    (folder / WEIGHTS).rename(tmp_path / "elsewhere")
    (folder / WEIGHTS).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactRefused, match=WEIGHTS):
        read_artifact(folder, expected_digest=None, verify_key=None)


def test_a_linked_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "openvino").rename(tmp_path / "elsewhere")
    (folder / "openvino").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactRefused, match="the link openvino"):
        read_artifact(folder, expected_digest=None, verify_key=None)


def test_a_pipe_is_refused_and_nobody_waits_for_it(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    os.mkfifo(folder / WEIGHTS)
    with pytest.raises(ArtifactRefused, match="regular file"):
        read_artifact(folder, expected_digest=None, verify_key=None)


def test_a_manifest_of_absurd_length_is_refused_unread(folder: Path) -> None:
    with (folder / MANIFEST).open("r+b") as file:
        file.truncate(MAX_MANIFEST_BYTES + 1)
    with pytest.raises(ArtifactRefused, match=f"at most {MAX_MANIFEST_BYTES} bytes"):
        read_artifact(folder, expected_digest=None, verify_key=None)


def test_each_class_has_the_quantile_of_its_group(folder: Path) -> None:
    manifest = parse_manifest((folder / MANIFEST).read_bytes())
    assert manifest.conformal.quantiles == (0.8, 0.8, 0.4, 0.4, 0.95, 0.4, 0.4)


def test_a_manifest_keeps_its_digest_through_the_registry(folder: Path) -> None:
    manifest = parse_manifest((folder / MANIFEST).read_bytes())
    registered = json.loads(json.dumps(manifest.model_dump(mode="json")))
    assert type(manifest).model_validate_json(json.dumps(registered)).digest == manifest.digest


def put(*path: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(manifest: dict[str, Any]) -> None:
        part = manifest
        for name in path[:-1]:
            part = part[name]
        part[path[-1]] = value

    return change


RECORD = {"sha256": "0" * 64, "bytes": 1}
UNEVEN = [0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]


@pytest.mark.parametrize(
    "change",
    [
        put("format", value="2"),
        put("surprise", value=1),
        put("classes", value=["mel", "akiec", "bcc", "bkl", "df", "nv", "vasc"]),
        put("network", "name", value="made_up"),
        put("network", "parameters", "input_size", value=260),
        put("preprocessing_version", value="crop-1"),
        put("input_size", value=1_000_000),
        put("temperature", value=0.0),
        put("temperature", value="1.0"),
        put("prior", "natural", value=[1 / 6] * 6),
        put("prior", "natural", value=[0.0, *UNEVEN[1:-1], 0.5]),
        put("prior", "natural", value=[0.5, *UNEVEN[1:]]),
        put("thresholds", "urgent", "value", value=1.5),
        put("thresholds", "urgent", "on", value="malignant"),
        put("readings", "probabilities", value="softmax(logits)"),
        put("conformal", "score", value="aps"),
        put("conformal", "quantile", value=0.9),
        put("conformal", "groups", value=[]),
        put("conformal", "groups", 0, "classes", value=["nv"]),
        put("conformal", "groups", 0, "classes", value=["mel", "scc"]),
        put("conformal", "groups", 0, "quantile", value=1.5),
        put("out_of_distribution", value=None),
        put("out_of_distribution", "score", value="energy"),
        put("out_of_distribution", "threshold", value=-0.1),
        put("out_of_distribution", "kept", value=1.0),
        put("training", "seeds", value=[]),
        put("metrics", "bma", value=1.1),
        put("created_at", value="2026-01-01T00:00:00"),
        put("files", "../escape", value=RECORD),
        put("files", "/etc/passwd", value=RECORD),
        put("files", "a/../../b", value=RECORD),
        put("files", "a\\b", value=RECORD),
        put("files", MANIFEST, value=RECORD),
        put("files", WEIGHTS, "bytes", value=10**12),
        put("files", WEIGHTS, "sha256", value="ABC"),
        lambda manifest: manifest["files"].pop(WEIGHTS),
        lambda manifest: manifest["files"].pop(OUT_OF_DISTRIBUTION),
        lambda manifest: manifest.pop("readings"),
        lambda manifest: manifest.pop("thresholds"),
    ],
)
def test_a_manifest_with_a_value_out_of_bounds_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    change_manifest(folder, change)
    with pytest.raises(ArtifactRefused, match=r"Expected .*Received:"):
        read_artifact(folder, expected_digest=None, verify_key=None)


@pytest.mark.parametrize("number", [1, 3])
def test_a_manifest_of_another_format_is_refused_by_its_number(folder: Path, number: int) -> None:
    change_manifest(folder, put("format", value=number))
    change_manifest(folder, lambda manifest: manifest.pop("readings"))
    with pytest.raises(
        ArtifactRefused, match=rf"^Expected a manifest of format 2\. Received: format {number}$"
    ):
        read_artifact(folder, expected_digest=None, verify_key=None)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_a_number_that_is_none_is_refused(folder: Path, number: str) -> None:
    text = (folder / MANIFEST).read_text().replace('"temperature":1.0', f'"temperature":{number}')
    (folder / MANIFEST).write_text(text)
    with pytest.raises(ArtifactRefused):
        read_artifact(folder, expected_digest=None, verify_key=None)


def test_a_manifest_that_two_readers_could_take_two_ways_is_refused(folder: Path) -> None:
    doubled = (
        (folder / MANIFEST).read_text().replace('"temperature":1.0', '"temperature":9.0,"temperature":1.0')
    )
    with pytest.raises(ArtifactRefused, match="canonical"):
        parse_manifest(doubled.encode())
