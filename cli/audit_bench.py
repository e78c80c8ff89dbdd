"""`dermabatch audit bench`: how many events a second the trail takes, and how fast it is verified."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click

import migrations
from cli.acting import AS_JSON, print_json
from dermabatch import audit as trail
from dermabatch.audit import Action, Actor, ActorKind, BacklogWatch, Chainer, Event, Outcome
from dermabatch.database import Sessions, connect
from dermabatch.errors import ServiceUnavailable
from dermabatch.objects import S3ObjectStore
from dermabatch.settings import Settings

_ROLLED_BACK_EVERY = 10
_CHAINED_WITHIN_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Load:
    """What many writers did at once. Times in seconds."""

    committed: int
    rolled_back: int
    seconds: float
    slowest_transaction: float


@dataclass(frozen=True, slots=True)
class Report:
    """What one run measured. Rates are events a second."""

    writers: int
    committed: int
    rolled_back: int
    append_rate: float
    chained_rate: float
    """From the first write until the last event had its place in the chain."""
    slowest_transaction_seconds: float
    verify_rate: float
    """Of `verify --full`, by the clock."""


class _ChangeOfMind(Exception):
    """Of a writer, in the middle of its transaction."""


@click.command()
@click.option("--writers", type=click.IntRange(1, 80), default=64, show_default=True)
@click.option("--events", type=click.IntRange(min=1), default=500, show_default=True, help="Of each writer.")
@AS_JSON
def bench(writers: int, events: int, as_json: bool) -> None:
    """Measure the trail on services of its own, in a folder that is thrown away. One in ten writes is rolled back.

    The writers are threads of one process and share the machine with the database: a floor, not a ceiling.
    """
    report = _measure(writers, events)
    if as_json:
        print_json(asdict(report))
    else:
        click.echo(
            f"{report.committed:,} events of {report.writers} writers, {report.rolled_back:,} rolled back:"
            f" {report.append_rate:,.0f} events/s appended, {report.chained_rate:,.0f} events/s chained,"
            f" slowest transaction {report.slowest_transaction_seconds * 1000:.0f} ms;"
            f" verified at {report.verify_rate:,.0f} events/s"
        )


def write_at_once(sessions: Sessions, *, writers: int, events_each: int) -> Load:
    """Append from many threads, an event a transaction, and roll a tenth of them back.

    Args:
        sessions: with a pool that has a connection for each writer.
    """
    actor = Actor(None, ActorKind.SERVICE, "audit bench")

    def write(writer: int) -> tuple[int, float]:
        committed, slowest = 0, 0.0
        for number in range(events_each):
            started = time.perf_counter()
            try:
                with sessions.begin() as session:
                    event = Event(
                        Action.IMAGE_VIEW, Outcome.SUCCESS, actor=actor, object_id=f"{writer}/{number}"
                    )
                    trail.append(session, event)
                    if (writer + number) % _ROLLED_BACK_EVERY == 0:
                        raise _ChangeOfMind
                committed += 1
            except _ChangeOfMind:
                pass
            slowest = max(slowest, time.perf_counter() - started)
        return committed, slowest

    started = time.perf_counter()
    with ThreadPoolExecutor(writers) as threads:
        written = list(threads.map(write, range(writers)))
    committed = sum(count for count, _ in written)
    return Load(
        committed=committed,
        rolled_back=writers * events_each - committed,
        seconds=time.perf_counter() - started,
        slowest_transaction=max(slowest for _, slowest in written),
    )


def _measure(writers: int, events_each: int) -> Report:
    # Brings PostgreSQL and S3 storage along, which an installation with services of its own does not have.
    from dermabatch.embedded import EmbeddedServices  # noqa: PLC0415

    with (
        TemporaryDirectory(prefix="dermabatch-audit-bench-") as folder,
        EmbeddedServices(Path(folder)) as services,
    ):
        migrations.upgrade(services.postgres_url("owner"))
        values = services.environment("web")
        settings = Settings.model_validate(
            {name.removeprefix("DERMABATCH_").lower(): value for name, value in values.items()}
        )
        store = S3ObjectStore.from_settings(settings)
        assert settings.signing_key is not None
        with (
            closing(connect(services.postgres_url("web"), pool_size=writers)) as web,
            closing(connect(services.postgres_url("chainer"))) as chaining,
        ):
            started = time.perf_counter()
            with _running(Chainer(chaining, store, settings.signing_key)):
                load = write_at_once(web, writers=writers, events_each=events_each)
                _wait_until_chained(web)
                chained_seconds = time.perf_counter() - started
            with web.begin(auditor=True) as session:
                verified = trail.verify(session, store, settings.verify_key, full=True)
    return Report(
        writers=writers,
        committed=load.committed,
        rolled_back=load.rolled_back,
        append_rate=load.committed / load.seconds,
        chained_rate=load.committed / chained_seconds,
        slowest_transaction_seconds=load.slowest_transaction,
        verify_rate=verified.events / verified.seconds,
    )


@contextmanager
def _running(chainer: Chainer) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=chainer.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _wait_until_chained(sessions: Sessions) -> None:
    watch, deadline = BacklogWatch(), time.monotonic() + _CHAINED_WITHIN_SECONDS
    while time.monotonic() < deadline:
        with sessions.begin() as session:
            if watch.look(session).waiting == 0:
                return
        time.sleep(0.02)
    raise ServiceUnavailable(f"Events still waited for the chainer after {_CHAINED_WITHIN_SECONDS} s.")
