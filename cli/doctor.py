"""`dermabatch doctor`: is the installation sound, and is every received file accounted for?"""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import sqlalchemy as sa
from redis import RedisError
from rich.console import Console
from rich.table import Table
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from cli.training_check import look_at_training
from dermabatch import audit, database_roles, durability, ledger, model_store, production
from dermabatch.database import Sessions, connect
from dermabatch.erasures import find_returned
from dermabatch.errors import ArtifactRefused, ConfigurationError, DermabatchError, ObjectMissing
from dermabatch.lifecycle import PackState
from dermabatch.objects import ObjectStore, S3ObjectStore
from dermabatch.queue import WakeUp
from dermabatch.schema import Image, Pack, Prediction
from dermabatch.settings import Settings, load_settings
from dermabatch.subjects import KeyRing

_LATELY = timedelta(hours=2)
"""A worker tries a model that it refused again every hour, and says so each time."""

_REMEDY_OF_A_REFUSAL = (
    "The one before serves on. Find out who wrote to the bucket, put the objects back from a backup or go back:"
    " dermabatch models rollback. See docs/operators.md."
)

Answer = tuple[bool, str] | tuple[bool, str, str]
"""Whether all is well, what was found, and a remedy where it depends on that."""


@dataclass(frozen=True, slots=True)
class Check:
    """One answer of the doctor."""

    name: str
    ok: bool
    finding: str
    remedy: str = ""


@click.command()
@click.option("--quick", is_flag=True, help="Only whether the services answer; for health checks.")
@click.option("--deep", is_flag=True, help="Also read every stored pack and compare its checksum.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def doctor(quick: bool, deep: bool, as_json: bool) -> None:
    """Check services, durability, model, queue, training by the clock and the conservation line.

    Needs the worker's database role.

    Exit code 0: all is well; 1: something is not, and the remedy is named.
    """
    if quick and deep:
        raise click.UsageError("Expected --quick or --deep, not both.")
    checks = list(examine(load_settings(), quick=quick, deep=deep))
    ok = all(check.ok for check in checks)
    if as_json:
        click.echo(json.dumps({"ok": ok, "checks": [asdict(check) for check in checks]}))
    else:
        Console().print(_table(checks))
    sys.exit(0 if ok else 1)


def examine(settings: Settings, *, quick: bool = False, deep: bool = False) -> Iterator[Check]:
    """Every check, one by one; a part that is down does not stop the others from being checked."""
    sessions = connect(settings.database_url.get_secret_value())
    store = S3ObjectStore.from_settings(settings)
    yield _checked("database", lambda: _database(sessions), "Start PostgreSQL; see DERMABATCH_DATABASE_URL.")
    yield _checked("queue", lambda: _queue(settings), "Start Redis. Nothing is lost: the rows hold the work.")
    yield _checked("storage", lambda: _storage(store), "Start the S3 storage; see DERMABATCH_S3_ENDPOINT.")
    if not quick:
        yield _checked("durability", lambda: _durability(sessions), "Start PostgreSQL.")
        for name, rule in production.RULES.items():
            yield _checked(name, partial(_production, rule, settings), "Start PostgreSQL.")
        yield _checked(
            "model",
            lambda: _model(sessions, store, settings),
            "Publish and activate one: dermabatch models activate.",
        )
        yield _checked("training", lambda: look_at_training(sessions, settings), "See docs/operators.md.")
        yield _checked("work", lambda: _work(sessions), "")
        yield _checked(
            "conservation", lambda: _conservation(sessions), "Keep the logs and call the developers."
        )
        yield _checked(
            "erasures",
            lambda: _erasures(sessions, store, KeyRing(settings.master_key)),
            "Run dermabatch replay-erasures, as after every restore.",
        )
    if deep:
        yield _checked("bytes", lambda: _bytes(sessions, store), "Restore the named objects from a backup.")
    sessions.close()


def _checked(name: str, check: Callable[[], Answer], remedy: str) -> Check:
    """The answer of one check; `remedy` is for those that name none of their own, and for a part that is down."""
    try:
        ok, finding, *own = check()
    except (SQLAlchemyError, RedisError, DermabatchError, OSError) as error:
        ok, finding, own = False, str(error).splitlines()[0], []
    return Check(name, ok, finding, "" if ok else own[0] if own else remedy)


def _database(sessions: Sessions) -> tuple[bool, str]:
    with sessions.begin() as session:
        version, revision, role = session.execute(
            sa.text("SELECT current_setting('server_version'), to_regclass('images')::text, current_user")
        ).one()
    if revision is None:
        return False, "the tables are missing: dermabatch migrate"
    return True, f"PostgreSQL {version} as {role}"


def _durability(sessions: Sessions) -> Answer:
    names = durability.switched_off(sessions)
    if names:
        return False, f"a power cut loses commits: {', '.join(names)} off", durability.remedy(names)
    return True, "what is committed survives a power cut"


def _production(rule: production.Rule, settings: Settings) -> Answer:
    objection = rule(settings)
    if objection is None:
        return True, "as a hospital's should be"
    finding, remedy = objection
    return settings.trial, f"{finding} (a trial may)" if settings.trial else finding, remedy


def _queue(settings: Settings) -> tuple[bool, str]:
    with closing(WakeUp(settings)) as wake_up:
        return True, f"{wake_up.waiting()} wake-up messages wait"


def _storage(store: ObjectStore) -> tuple[bool, str]:
    # A look-up of one object would not tell a missing bucket from a missing object.
    for _ in store.list("doctor"):
        break
    return True, "S3 answers"


def _model(sessions: Sessions, store: ObjectStore, settings: Settings) -> Answer:
    with sessions.begin() as session:
        model = model_store.active_model(session)
    if model is None:
        return False, "no model is active"
    called = f"{model.name} ({model.digest[:12]})"
    refusal = _refused_here(model.digest, store, settings) or _refused_by_a_worker(model.digest, sessions)
    if refusal is not None:
        return False, f"{called} is refused: {refusal}", _REMEDY_OF_A_REFUSAL
    return True, called


def _refused_here(digest: str, store: ObjectStore, settings: Settings) -> str | None:
    """Why a worker that fetches the model now would refuse it."""
    with TemporaryDirectory() as cache:
        try:
            model_store.fetch(
                digest,
                store=store,
                cache=Path(cache),
                verify_key=settings.verify_key,
                retired_keys=settings.retired_verify_keys,
            )
        except (ArtifactRefused, ObjectMissing) as refusal:
            return str(refusal)
    return None


def _refused_by_a_worker(digest: str, sessions: Sessions) -> str | None:
    """Why one did of late, be it for what it computes or for its own machine."""
    lately = audit.Filters(
        action=audit.Action.MODEL_REFUSED, object_id=digest, since=datetime.now(UTC) - _LATELY
    )
    with sessions.begin() as session:
        events = audit.search(session, lately, limit=1)
    return f"{events[0].source} says {json.loads(events[0].details)['reason']}" if events else None


@contextmanager
def _overview(sessions: Sessions) -> Iterator[Session]:
    """A transaction that sees every department. Any other would find nothing wrong because it finds nothing.

    Raises:
        ConfigurationError: this role sees one department at most.
    """
    with sessions.begin() as session:
        role, sees_all = session.execute(
            sa.text("SELECT current_user, pg_has_role(:worker, 'USAGE')"), {"worker": database_roles.WORKER}
        ).one()
        if not sees_all:
            raise ConfigurationError(
                f"Expected a database URL of the role {database_roles.WORKER}, which sees every department."
                f" Received: {role}"
            )
        yield session


def _work(sessions: Sessions) -> tuple[bool, str]:
    with _overview(sessions) as session:
        rows = session.execute(
            sa.text("""
                SELECT count(*) FILTER (WHERE state = 'ready') AS ready,
                       count(*) FILTER (WHERE state = 'running') AS running,
                       count(*) FILTER (WHERE state = 'running' AND lease_until < clock_timestamp()) AS lapsed,
                       count(*) FILTER (WHERE isolated AND state IN ('ready', 'running')) AS isolated,
                       coalesce(sum(late_writes), 0) AS late_writes
                FROM chunks
            """)
        ).one()
    return True, (
        f"{rows.ready} chunks ready, {rows.running} running, {rows.lapsed} lapsed, {rows.isolated} in"
        f" quarantine, {rows.late_writes} late writes refused"
    )


def _conservation(sessions: Sessions) -> tuple[bool, str]:
    with _overview(sessions) as session:
        conservation = ledger.conservation(session)
    wrong = ", ".join(str(batch_id) for batch_id in conservation.wrong_batches)
    return conservation.holds, conservation.line() + (f"; wrong: {wrong}" if wrong else "")


def _erasures(sessions: Sessions, store: ObjectStore, keyring: KeyRing) -> tuple[bool, str]:
    returned = find_returned(sessions=sessions, store=store, keyring=keyring)
    if returned:
        return False, f"erased patients who can be read again: {len(returned)}"
    return True, "no erased patient can be read"


def _bytes(sessions: Sessions, store: ObjectStore) -> tuple[bool, str]:
    with _overview(sessions) as session:
        packs = session.execute(
            sa.select(Pack.object_key, Pack.sha256).where(Pack.state == PackState.STORED).order_by(Pack.id)
        ).all()
        derived = session.scalars(sa.select(Prediction.derived_key).distinct()).all()
        astray = session.scalar(
            sa.select(sa.func.count())
            .select_from(Image)
            .join(Pack, Pack.id == Image.pack_id)
            .where(
                sa.or_(
                    Pack.state != PackState.STORED, Image.pack_offset + Image.pack_length > Pack.size_bytes
                )
            )
        )
    wrong = [key for key, sha256 in packs if not _is_whole(store, key, sha256)]
    wrong += [key for key in derived if not store.exists(key)]
    if wrong or astray:
        shown = ", ".join(wrong[:5])
        return (
            False,
            f"{len(wrong)} objects are gone or changed; {astray} images lie in no stored pack: {shown}",
        )
    return True, f"all {len(packs)} packs and {len(derived)} derived objects are there"


def _is_whole(store: ObjectStore, key: str, sha256: str) -> bool:
    try:
        return hashlib.sha256(store.get(key)).hexdigest() == sha256
    except ObjectMissing:
        return False


def _table(checks: list[Check]) -> Table:
    table = Table("", "Check", "Finding", "Remedy", box=None)
    for check in checks:
        mark = "[green]ok[/green]" if check.ok else "[red]no[/red]"
        table.add_row(mark, check.name, check.finding, check.remedy)
    return table
