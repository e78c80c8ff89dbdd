"""Every way into a worker through a model: refused, the model before serves on, and an alarm is raised."""

import pickle
import zipfile

import h5py
import numpy as np
import openvino
import pytest
import safetensors.numpy

import worker.app
from dermabatch.settings import Settings
from tests.integration.hostile_models.standing import Worker, colour_model
from tests.situations import open_hospital

PARSERS = (
    (openvino, "Core"),
    (zipfile, "ZipFile"),
    (np, "load"),
    (safetensors.numpy, "load"),
    (h5py, "File"),
    (pickle, "loads"),
    (worker.app, "load_engine"),
    (worker.app, "read_detector"),
)


@pytest.fixture
def standing(services, database, redis_url, object_store, tmp_path):
    """A worker that serves a model; a second one is published."""
    values = services.environment("worker", database.name) | {
        "DERMABATCH_S3_BUCKET": "tests",
        "DERMABATCH_MODEL_CACHE": str(tmp_path / "cache"),
    }
    web = database.sessions("web")
    standing = Worker(
        Settings(**{name.removeprefix("DERMABATCH_").lower(): value for name, value in values.items()}),
        object_store,
        web,
        database.sessions("worker"),
        open_hospital(web),
        *(colour_model(tmp_path, name) for name in ("old", "new")),
    )
    for artifact in (standing.old, standing.new):
        standing.publish(artifact)
    standing.activate(standing.old.digest)
    assert standing.served() == standing.old.digest
    return standing


@pytest.fixture
def parsed(monkeypatch):
    """The parsers that were called, of all that could open a file of a model."""
    called: list[str] = []

    def watch() -> None:
        for module, name in PARSERS:

            def record(*_: object, _name: str = name, **__: object) -> None:
                called.append(_name)
                raise AssertionError(f"{_name} got to see a byte")

            monkeypatch.setattr(module, name, record)

    return called, watch
