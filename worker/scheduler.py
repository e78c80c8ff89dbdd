"""The scheduler: finds work left behind, wakes workers, erases again whom a restored backup brought back, chains and
signs the audit trail, watches the night runs.

Any number may run: sweeping is idempotent and skips locked rows, and one chainer at a time holds an advisory lock.
"""

import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from threading import Event

import structlog

from dermabatch import ledger
from dermabatch.alerts import channels_of
from dermabatch.audit import Actor, ActorKind, Chainer
from dermabatch.database import Sessions, connect
from dermabatch.durability import require_durability
from dermabatch.erasures import replay_erasures
from dermabatch.errors import ConfigurationError, DermabatchError, ServiceUnavailable
from dermabatch.intake import collect_orphans
from dermabatch.objects import ObjectStore, S3ObjectStore
from dermabatch.observability import configure_logging
from dermabatch.production import require_production
from dermabatch.queue import WakeUp
from dermabatch.screening.watching import NightWatch
from dermabatch.settings import Settings, load_settings
from dermabatch.subjects import KeyRing

log = structlog.get_logger(__name__)

_TIDY_EVERY_SECONDS = 60
_ACTOR = Actor(None, ActorKind.SERVICE, "scheduler")


@dataclass
class Sweeper:
    """Looks for lapsed leases, waiting chunks, broken-off uploads and erased patients who came back."""

    sessions: Sessions
    store: ObjectStore
    wake_up: WakeUp
    keyring: KeyRing
    tidy_due: float = field(default=0.0)

    def sweep(self) -> None:
        """One round. What fails is logged and done in the next round."""
        try:
            self._return_lapsed()
            self._wake_workers()
            if time.monotonic() >= self.tidy_due:
                replay_erasures(sessions=self.sessions, store=self.store, keyring=self.keyring, actor=_ACTOR)
                collect_orphans(sessions=self.sessions, store=self.store, actor=_ACTOR)
                self.tidy_due = time.monotonic() + _TIDY_EVERY_SECONDS
        except ServiceUnavailable as error:
            log.warning("sweep_failed", error=str(error), remedy="tried again in the next round")

    def _return_lapsed(self) -> None:
        with self.sessions.begin() as session:
            lapsed = ledger.return_lapsed(session)
        for chunk_id, lapses in lapsed.items():
            # Once is a killed worker. Again and again is a chunk or a machine that stops its workers.
            report = log.error if lapses > 1 else log.warning
            report("lease_lapsed", chunk=chunk_id, lapses=lapses)

    def _wake_workers(self) -> None:
        with self.sessions.begin() as session:
            waiting = ledger.waiting_chunks(session)
        if waiting:
            self.wake_up.send(waiting)


def run(settings: Settings, stop: Event) -> None:
    """Sweep, chain and watch until told to stop.

    Raises:
        ConfigurationError: what signs or chains the trail is not set.
    """
    if settings.chainer_url is None or settings.signing_key is None:
        raise ConfigurationError(
            "The scheduler chains and signs the audit trail. Set DERMABATCH_CHAINER_URL (the database with the"
            " role dermabatch_chainer) and DERMABATCH_SIGNING_KEY."
        )
    store = S3ObjectStore.from_settings(settings)
    chainer = Chainer(
        sessions=connect(settings.chainer_url.get_secret_value()),
        store=store,
        signing_key=settings.signing_key,
        retired_keys=settings.retired_verify_keys,
        checkpoint_seconds=settings.checkpoint_seconds,
    )
    sweeper = Sweeper(
        connect(settings.database_url.get_secret_value()),
        store,
        WakeUp(settings),
        KeyRing(settings.master_key),
    )
    watch = NightWatch(
        settings.night_runs,
        time_zone=settings.time_zone,
        sessions=sweeper.sessions,
        channels=channels_of(settings),
    )
    with ThreadPoolExecutor(2, thread_name_prefix="beside the sweeper") as threads:
        beside = [threads.submit(part.run, stop) for part in (chainer, watch)]
        for part in beside:
            # Half a scheduler would go unnoticed: if one part ends, all end, and the supervisor starts them again.
            part.add_done_callback(lambda _: stop.set())
        try:
            _sweep_until(stop, sweeper, settings.sweep_seconds)
        finally:
            stop.set()
    for part in beside:
        part.result()


def _sweep_until(stop: Event, sweeper: Sweeper, every_seconds: float) -> None:
    log.info("scheduler_started", sweep_seconds=every_seconds)
    sweeper.sweep()
    while not stop.wait(every_seconds):
        sweeper.sweep()


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    settings = load_settings()
    configure_logging(settings)
    with closing(connect(settings.database_url.get_secret_value())) as sessions:
        require_production(settings, sessions)
        require_durability(sessions)
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    run(settings, stop)


if __name__ == "__main__":
    try:
        main()
    except DermabatchError as error:
        sys.exit(f"scheduler: {error}")
