"""A worker that serves a model, and how an artifact is crafted."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import worker.app
from cli.doctor import examine
from dermabatch import model_store
from dermabatch.artifacts import Artifact, sign_manifest
from dermabatch.audit import Actor, ActorKind
from dermabatch.database import Sessions
from dermabatch.gate import Gate
from dermabatch.manifest import (
    MANIFEST,
    SIGNATURE,
    describe_files,
)
from dermabatch.objects import ObjectStore
from dermabatch.schema import Model
from dermabatch.settings import Settings
from tests.colour_model import NUMBERS, write_colour_model
from tests.situations import person

FOREIGN_KEY = Ed25519PrivateKey.from_private_bytes(b"f" * 32).private_bytes_raw()
EVIL = b"import os"


@dataclass
class Worker:
    """A worker that serves a model, and the one that was activated after it."""

    settings: Settings
    store: ObjectStore
    web: Sessions
    behind: Sessions
    hospital: object
    old: Artifact
    new: Artifact
    serving: worker.app.Serving = field(init=False)

    def __post_init__(self) -> None:
        self.settings = self.settings.model_copy(update={"engine": "openvino", "precision": "f32"})
        self.restart()

    def restart(self) -> None:
        actor = Actor(None, ActorKind.SERVICE, "worker of a test")
        self.serving = worker.app._serving(self.settings, self.behind, self.store, actor)

    def served(self) -> str:
        with self.serving.current() as model:
            return model.digest

    def publish(self, artifact: Artifact, gate: Gate | None = None) -> None:
        model_store.publish(
            artifact.folder,
            publisher=person(self.hospital.installer),
            sessions=self.web,
            store=self.store,
            signing_key=self.settings.signing_key,
            gate=gate,
        )

    def move_pointer(self, digest: str) -> None:
        """As somebody does who has the portal's password of the database."""
        with self.web.begin() as session:
            session.execute(sa.update(Model).where(Model.state == "active").values(state="retired"))
            session.execute(sa.update(Model).where(Model.digest == digest).values(state="active"))

    def activate(self, digest: str) -> None:
        model_store.activate(digest, actor=person(self.hospital.administrator), sessions=self.web)

    def key(self, name: str) -> str:
        return f"models/{self.new.digest}/{name}"

    def change(self, name: str, content: bytes) -> None:
        self.store.put(self.key(name), content)

    def doctor(self) -> object:
        return next(check for check in examine(self.settings) if check.name == "model")


def colour_model(folder: Path, name: str) -> Artifact:
    weights = np.random.default_rng(sum(name.encode())).normal(0, 1, (NUMBERS + 1, 7)).astype(np.float32)
    return write_colour_model(folder / name, weights, name=name, split_digest="5" * 64)


def refused_models(database) -> list[tuple[str, str]]:
    """Digest and reason of every model that a worker refused, by the trail."""
    with database.sessions("chainer").begin() as session:
        return list(
            session.execute(
                sa.text(
                    "SELECT object_id, details::json ->> 'reason' FROM audit_pending"
                    " WHERE action = 'model.refused' ORDER BY id"
                )
            )
        )


def evil_objects(
    base: Artifact,
    signing_key: bytes,
    files: dict[str, bytes],
    change: Callable[[dict], None] = lambda _: None,
) -> dict[str, bytes]:
    """What an artifact becomes with other files and another manifest, rightly signed."""
    contents = {name: base.read(name) for name in base.manifest.files} | files
    described = base.manifest.model_copy(update={"files": describe_files(contents), "name": "evil"})
    manifest = json.loads(described.to_bytes())
    change(manifest)
    manifest_bytes = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    # The storage itself takes no name that leads out of its folder.
    contents |= {name: EVIL for name in manifest["files"].keys() - contents if name[0] not in "./"}
    return {**contents, MANIFEST: manifest_bytes, SIGNATURE: sign_manifest(manifest_bytes, signing_key)}


def put(*path: str, value: object) -> Callable[[dict], None]:
    def change(manifest: dict) -> None:
        part = manifest
        for name in path[:-1]:
            part = part[name]
        part[path[-1]] = value

    return change
