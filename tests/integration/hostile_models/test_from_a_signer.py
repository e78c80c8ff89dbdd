"""Somebody signs rightly: a publisher or a training job in wrong hands."""

import hashlib
import io
import json
import pickle
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from dermabatch.artifacts import Artifact
from dermabatch.errors import ArtifactRefused
from dermabatch.lifecycle import ModelState
from dermabatch.manifest import (
    GOLDEN,
    MANIFEST,
    OPENVINO_XML,
    OUT_OF_DISTRIBUTION,
    SIGNATURE,
    WEIGHTS,
)
from dermabatch.schema import Model
from tests.colour_model import NUMBERS
from tests.integration.hostile_models.standing import (
    EVIL,
    Worker,
    colour_model,
    evil_objects,
    put,
    refused_models,
)


def npz(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def with_header(shape: Sequence[int]) -> bytes:
    """Golden images that say to be of this shape, and are empty."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": tuple(shape)}
    )
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("images.npy", header.getvalue())
        archive.writestr("logits.npy", header.getvalue())
    return stream.getvalue()


def lying_about_its_size() -> bytes:
    """A bomb that says to be small where the archive lists it."""
    bomb = npz(images=np.zeros(65 * 2**20, np.uint8), logits=np.zeros(1, np.float32))
    honest = (65 * 2**20 + 128).to_bytes(4, "little")
    return bomb.replace(honest, (4096).to_bytes(4, "little"))


class Payload:
    """Whoever unpickles it runs what it says."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


def onnx() -> bytes:
    """The beginning of an ONNX model with a tensor that lies in another file."""
    location = b"\x0a\x08location\x12\x0b/etc/passwd"
    tensor = b"\x42\x01w" + b"\x6a" + bytes([len(location)]) + location + b"\x70\x01"
    graph = b"\x12\x01g" + b"\x2a" + bytes([len(tensor)]) + tensor
    return b"\x08\x08" + b"\x3a" + bytes([len(graph)]) + graph


def in_the_xml(old: str, new: str) -> Callable[[Artifact], bytes]:
    def changed(base: Artifact) -> bytes:
        xml = base.read(OPENVINO_XML).decode()
        assert old in xml
        return xml.replace(old, new).encode()

    return changed


def listed(name: str) -> Callable[[dict], None]:
    record = {"sha256": hashlib.sha256(EVIL).hexdigest(), "bytes": len(EVIL)}
    return lambda manifest: manifest["files"].update({name: record})


IN_THE_MANIFEST = {
    "a file above the folder": listed("../../escape"),
    "a file by its full path": listed("/etc/cron.d/escape"),
    "a hidden file": listed(".ssh/authorized_keys"),
    "a Keras model with a Lambda layer": listed("model.keras"),
    "an HDF5 file": listed("weights.h5"),
    "a pickle": listed("weights.pkl"),
    "a plugin": listed("openvino/plugin.so"),
    "code as the network": put("network", value={"name": "lambda", "parameters": {"code": "import os"}}),
    "a network from another module": put("network", "name", value="os:system"),
    "a head of a billion classes": put("network", "parameters", "classes", value=10**9),
    "an ensemble of a million": put("network", "parameters", "members", value=10**6),
    "images of a million pixels a side": put("input_size", value=10**6),
    "weights of a terabyte": put("files", WEIGHTS, "bytes", value=2**40),
}
"""Before anything is fetched but manifest and signature."""


def in_the_files(folder: Path) -> dict[str, tuple[dict[str, Callable[[Artifact], bytes]], str]]:
    """What a parser has to refuse by itself, and what it says."""
    pickled = np.array([Payload(folder / "run")], dtype=object)
    elsewhere = npz(mean=np.zeros(NUMBERS, np.float32), directions=np.zeros((NUMBERS + 1, 1), np.float32))
    return {
        "a bomb": ({GOLDEN: npz(images=np.zeros(65 * 2**20, np.uint8), logits=np.zeros(1))}, "of at most"),
        "a bomb that lies about its size": ({GOLDEN: lying_about_its_size()}, GOLDEN),
        "golden images of a petabyte": ({GOLDEN: with_header((2**50,))}, "say to be"),
        "golden images that are none": ({GOLDEN: npz(images=np.zeros(3), logits=np.zeros(3))}, GOLDEN),
        "a pickle among the golden images": ({GOLDEN: npz(images=pickled, logits=pickled)}, "Python objects"),
        "a pickle in the detector": (
            {OUT_OF_DISTRIBUTION: npz(mean=pickled, directions=pickled)},
            "Python objects",
        ),
        "a bare pickle": ({OUT_OF_DISTRIBUTION: pickle.dumps(Payload(folder / "run"))}, OUT_OF_DISTRIBUTION),
        "a detector of another shape": ({OUT_OF_DISTRIBUTION: elsewhere}, OUT_OF_DISTRIBUTION),
        "ONNX with a tensor in another file": ({OPENVINO_XML: onnx()}, "XML of OpenVINO"),
        "an operation of an extension": (
            {OPENVINO_XML: in_the_xml('type="Divide" version="opset1"', 'type="Evil" version="extension"')},
            "OpenVINO reads",
        ),
        "weights from behind the end of the file": (
            {OPENVINO_XML: in_the_xml('offset="0"', 'offset="99999999999"')},
            "OpenVINO reads",
        ),
        "a constant of a petabyte": (
            {OPENVINO_XML: in_the_xml('size="', 'size="1125899906842624')},
            "OpenVINO reads",
        ),
        "a network without logits": ({OPENVINO_XML: in_the_xml('names="logits"', 'names="cam2"')}, "logits"),
        "another network's answers": ({GOLDEN: None}, "golden probabilities"),
    }


def activate_evil(standing: Worker, objects: dict[str, bytes]) -> str:
    """Registers and activates it past every check of `publish`, as somebody with database and bucket could."""
    digest = hashlib.sha256(objects[MANIFEST]).hexdigest()
    for name, content in objects.items():
        standing.store.put(f"models/{digest}/{name}", content)
    with standing.web.begin() as session:
        session.add(
            Model(
                digest=digest,
                name="evil",
                state=ModelState.CANDIDATE,
                manifest=json.loads(objects[MANIFEST]),
                signature=objects[SIGNATURE],
                published_by=standing.hospital.installer,
            )
        )
    standing.activate(digest)
    return digest


@pytest.fixture
def serves_on(standing, database):
    """Asserts that a rightly signed model does not serve, and that everybody hears of it; returns the reason."""

    def _serves_on(objects: dict[str, bytes]) -> str:
        digest = activate_evil(standing, objects)
        with capture_logs() as logs:
            assert standing.served() == standing.old.digest
        assert [log["model"] for log in logs if log["event"] == "model_refused"] == [digest]
        refused, reason = refused_models(database)[-1]
        assert refused == digest
        return reason

    return _serves_on


def test_a_rightly_signed_manifest_with_evil_in_it_is_refused_before_any_parser_sees_a_file(
    standing, serves_on, parsed, subtests, tmp_path
):
    called, watch = parsed
    crafted = {
        name: evil_objects(standing.new, standing.settings.signing_key, {}, change)
        for name, change in IN_THE_MANIFEST.items()
    }
    watch()
    for name, objects in crafted.items():
        with subtests.test(name):
            serves_on(objects)
            assert called == []
    assert not list(tmp_path.rglob("escape"))


def test_rightly_signed_files_with_evil_in_them_are_refused_and_run_nothing(
    standing, serves_on, subtests, tmp_path
):
    for name, (files, said) in in_the_files(tmp_path).items():
        with subtests.test(name):
            made = {
                file: content(standing.new) if callable(content) else content or standing.old.read(file)
                for file, content in files.items()
            }
            assert said in serves_on(evil_objects(standing.new, standing.settings.signing_key, made))
    assert not (tmp_path / "run").exists()


def test_a_publisher_hears_at_once_what_workers_would_refuse(standing, tmp_path):
    folder = colour_model(tmp_path, "published").folder
    manifest = json.loads((folder / MANIFEST).read_bytes())
    put("network", "parameters", "classes", value=10**9)(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest, sort_keys=True, separators=(",", ":")))
    with pytest.raises(ArtifactRefused, match="7 classes"):
        standing.publish(replace(standing.new, folder=folder))
