"""The worker program: one process for one device, `python -m worker.app`."""

import os
import socket
import sys
from threading import Event

import structlog
from celery import signals

from dermabatch import ledger, model_store
from dermabatch.audit import Action, Actor, ActorKind, Outcome, append
from dermabatch.audit import Event as AuditEvent
from dermabatch.cores import available_cores
from dermabatch.database import Sessions, connect
from dermabatch.durability import require_durability
from dermabatch.engines import load_engine
from dermabatch.errors import ArtifactRefused, DermabatchError, ObjectMissing, ServiceUnavailable
from dermabatch.imaging.sandbox import DecoderPool
from dermabatch.objects import ObjectStore, S3ObjectStore
from dermabatch.observability import configure_logging
from dermabatch.out_of_distribution import read_detector
from dermabatch.production import require_production
from dermabatch.queue import create_app
from dermabatch.settings import Settings, load_settings
from dermabatch.subjects import KeyRing
from worker.hints import HintConsumer
from worker.leases import LeaseKeeper
from worker.pipeline import Pipeline
from worker.serving import ServedModel, Serving
from worker.tasks import register

log = structlog.get_logger(__name__)

# EX_TEMPFAIL of sysexits.h: the supervisor starts the worker again.
_EXIT_OVERDUE = 75


def main() -> None:
    """Serve until SIGTERM, then finish the chunks in hand."""
    settings = load_settings()
    configure_logging(settings)
    name = f"{socket.gethostname()}:{os.getpid()}"
    actor = Actor(id=None, kind=ActorKind.SERVICE, source=f"worker {name}")
    sessions = connect(settings.database_url.get_secret_value(), pool_size=settings.worker_slots + 2)
    require_production(settings, sessions)
    require_durability(sessions)
    store = S3ObjectStore.from_settings(settings)
    stopping = Event()
    # Decoders are forked before any framework is loaded: TensorFlow does not survive a fork.
    with DecoderPool(settings.decoders or available_cores()) as decoders:
        leases = LeaseKeeper(
            sessions,
            lease_seconds=settings.lease_seconds,
            renew_seconds=settings.renew_seconds,
            deadline_seconds=settings.chunk_deadline_seconds,
            on_overdue=_exit_overdue,
        )
        leases.start()
        serving = _serving(settings, sessions, store, actor)
        pipeline = Pipeline(
            settings=settings,
            sessions=sessions,
            store=store,
            keyring=KeyRing(settings.master_key),
            serving=serving,
            decoders=decoders,
            leases=leases,
            stopping=stopping,
            actor=actor,
            name=name,
        )
        _warm_up(serving)
        exit_code = _serve(settings, pipeline, stopping, name)
        leases.stop()
    sessions.close()
    sys.exit(exit_code)


def _warm_up(serving: Serving) -> None:
    """Load the model before the first claim, if database and storage are up already and a model is active."""
    try:
        with serving.current():
            pass
    except (ServiceUnavailable, ObjectMissing) as error:
        log.warning("no_model_yet", error=str(error), remedy="it is loaded when there is work")


def _serve(settings: Settings, pipeline: Pipeline, stopping: Event, name: str) -> int:
    """Work until told to stop. What lay in the queue while no worker ran is found like everything else."""
    app = create_app(settings)
    app.conf.worker_consumer = HintConsumer
    register(app, pipeline, stopping)
    signals.worker_shutting_down.connect(lambda **_: stopping.set(), weak=False)
    worker = app.Worker(
        pool="threads",
        concurrency=settings.worker_slots,
        hostname=f"worker@{name}",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        loglevel=settings.log_level,
        quiet=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


def _serving(settings: Settings, sessions: Sessions, store: ObjectStore, actor: Actor) -> Serving:
    def active_digest() -> str | None:
        with sessions.begin() as session:
            return model_store.active_digest(session)

    def load(digest: str) -> ServedModel:
        artifact = model_store.fetch(
            digest,
            store=store,
            cache=settings.model_cache,
            verify_key=settings.verify_key,
            retired_keys=settings.retired_verify_keys,
        )
        engine = load_engine(artifact.folder, artifact.manifest, settings.engine, settings.precision)
        return ServedModel(artifact, engine, read_detector(artifact), settings.engine, settings.precision)

    def refuse(digest: str, refusal: ArtifactRefused) -> None:
        log.error("model_refused", model=digest, reason=str(refusal))
        with sessions.begin() as session:
            append(
                session,
                AuditEvent(
                    action=Action.MODEL_REFUSED,
                    outcome=Outcome.REFUSED,
                    actor=actor,
                    object_type="model",
                    object_id=digest,
                    details={"reason": str(refusal)},
                ),
            )

    return Serving(active_digest=active_digest, load=load, on_refused=refuse)


def _exit_overdue(claim: ledger.Claim) -> None:
    log.critical(
        "chunk_hangs", chunk=str(claim.chunk_id), remedy="this worker ends; its supervisor restarts it"
    )
    sys.stderr.flush()
    os._exit(_EXIT_OVERDUE)


if __name__ == "__main__":
    try:
        main()
    except DermabatchError as error:
        sys.exit(f"worker: {error}")
