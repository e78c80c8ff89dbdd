"""A worker on real services, with the shipped model, and a nurse who hands in pictures for it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from threading import Event
from uuid import UUID

import pytest
import sqlalchemy as sa

from dermabatch import ledger, model_store
from dermabatch.artifacts import read_artifact
from dermabatch.audit import Actor, ActorKind
from dermabatch.derived import Derived, read_derived
from dermabatch.engines import load_engine
from dermabatch.lifecycle import ChunkState
from dermabatch.manifest import Fusion
from dermabatch.out_of_distribution import read_detector
from dermabatch.schema import Chunk, Pack, Prediction
from dermabatch.shipped import SHIPPED_MODEL
from dermabatch.subjects import KeyRing, data_key
from tests.integration.intake.conftest import (  # noqa: F401 - fixtures
    Intake,
    decoders,
    intake,
    settings,
)
from tests.situations import register_active_model
from worker.leases import LeaseKeeper
from worker.pipeline import Pipeline
from worker.serving import ServedModel, Serving


@dataclass
class HookedEngine:
    """The real engine, and what a test wants to happen just before it runs."""

    real: object
    before_run: list = field(default_factory=list)

    def __getattr__(self, name):
        return getattr(self.real, name)

    def run(self, images, *, priority):
        if self.before_run:
            self.before_run.pop(0)()
        return self.real.run(images, priority=priority)

    def close(self):
        """The real one serves all tests."""


@dataclass
class Work:
    """The worker of one test."""

    intake: Intake
    engine: HookedEngine
    fusion: Fusion | None = None
    """Of the model, in place of what the shipped one brings."""
    stopping: Event = field(default_factory=Event)

    def pipeline(self, *, store=None, keyring: KeyRing | None = None, decoders=None) -> Pipeline:  # noqa: F811
        worker = self.intake.worker
        return Pipeline(
            settings=self.intake.settings,
            sessions=worker,
            store=store or self.intake.store,
            keyring=keyring or self.intake.keyring,
            serving=Serving(active_digest=self._active_digest, load=self._load, on_refused=self._refuse),
            decoders=decoders or self.intake.decoders,
            leases=LeaseKeeper(
                worker,
                lease_seconds=60,
                renew_seconds=15,
                deadline_seconds=600,
                on_overdue=lambda claim: pytest.fail(f"{claim.chunk_id} hangs"),
            ),
            stopping=self.stopping,
            actor=Actor(None, ActorKind.SERVICE, "worker of a test"),
            name="worker of a test",
        )

    def drain(self, pipeline: Pipeline | None = None) -> None:
        """Work until nothing waits."""
        pipeline = pipeline or self.pipeline()
        while pipeline.claim_and_classify():
            pass

    def chunks(self, batch_id: UUID) -> Sequence[Chunk]:
        with self.intake.worker.begin() as session:
            return session.scalars(
                sa.select(Chunk).where(Chunk.batch_id == batch_id).order_by(Chunk.id)
            ).all()

    def pack_key(self, batch_id: UUID) -> str:
        with self.intake.worker.begin() as session:
            return session.scalars(sa.select(Pack.object_key).where(Pack.batch_id == batch_id)).one()

    def predictions(self, batch_id: UUID) -> Sequence[Prediction]:
        ids = [chunk.id for chunk in self.chunks(batch_id)]
        with self.intake.worker.begin() as session:
            return session.scalars(sa.select(Prediction).where(Prediction.chunk_id.in_(ids))).all()

    def derived_of(self, prediction: Prediction) -> Derived:
        packed = self.intake.store.get(prediction.derived_key)
        images = self.intake.images(self._batch_of(prediction))
        [image] = [image for image in images if image.id == prediction.image_id]
        key = data_key(self.intake.keyring, image)
        return read_derived(packed, prediction.derived_index, key=key, image_id=image.id)

    def derived_keys(self) -> list[str]:
        return [info.key for info in self.intake.store.list("derived/")]

    def return_lapsed(self) -> dict[str, int]:
        with self.intake.worker.begin() as session:
            return ledger.return_lapsed(session)

    def end_pauses(self) -> None:
        """As if the pauses after troubles were over."""
        with self.intake.worker.begin() as session:
            session.execute(sa.update(Chunk).values(not_before=None).where(Chunk.state == ChunkState.READY))

    def cut_database_at(self, words: str) -> None:
        """The database ends the next connection in which a statement with these words is about to run."""
        engine = self.intake.worker.engine

        def cut(connection, cursor, statement, parameters, context, many):
            if words in statement:
                sa.event.remove(engine, "before_cursor_execute", cut)
                with self.intake.worker.begin() as other:
                    pid = connection.connection.driver_connection.info.backend_pid
                    other.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})

        sa.event.listen(engine, "before_cursor_execute", cut)

    def _batch_of(self, prediction: Prediction) -> UUID:
        with self.intake.worker.begin() as session:
            return session.get_one(Chunk, prediction.chunk_id).batch_id

    def _active_digest(self) -> str | None:
        with self.intake.worker.begin() as session:
            return model_store.active_digest(session)

    def _load(self, digest: str) -> ServedModel:
        artifact = read_artifact(SHIPPED_MODEL.folder, expected_digest=digest, verify_key=None)
        manifest = artifact.manifest.model_copy(update={"fusion": self.fusion})
        artifact = replace(artifact, manifest=manifest)
        return ServedModel(artifact, self.engine, read_detector(artifact), "openvino")

    def _refuse(self, digest: str, refusal: Exception) -> None:
        pytest.fail(f"{digest} was refused: {refusal}")


@pytest.fixture(scope="session")
def shipped_engine():
    artifact = read_artifact(SHIPPED_MODEL.folder, expected_digest=SHIPPED_MODEL.digest, verify_key=None)
    engine = load_engine(artifact.folder, artifact.manifest, "openvino")
    yield engine
    engine.close()


@pytest.fixture
def work(intake, shipped_engine):  # noqa: F811 - the fixture
    register_active_model(intake.web, intake.hospital, SHIPPED_MODEL.digest)
    return Work(intake, HookedEngine(shipped_engine))
