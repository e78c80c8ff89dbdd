"""`dermabatch submit`: hand in files, folders or archives, straight to the services."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from cli.acting import AS_JSON, acting_user, actor_of, connected, person, print_json
from cli.watching import watch_batch
from dermabatch.accounts import STAFF
from dermabatch.database import Sessions
from dermabatch.imaging.sandbox import DecoderPool
from dermabatch.intake import (
    Acceptance,
    Incoming,
    IncomingFile,
    Metadata,
    accept_upload,
    incoming_files,
    parse_metadata,
)
from dermabatch.ledger import BatchCounts
from dermabatch.lifecycle import Queue
from dermabatch.objects import S3ObjectStore
from dermabatch.queue import WakeUp
from dermabatch.schema import User
from dermabatch.settings import Settings
from dermabatch.subjects import KeyRing

_PATH: Final = click.Path(path_type=Path, exists=True)


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=_PATH)
@click.option(
    "--metadata",
    "metadata_file",
    metavar="CSV",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Columns: file, and any of patient, lesion_id, age, sex, localization.",
)
@click.option(
    "--queue",
    type=click.Choice([queue.value for queue in Queue]),
    default=Queue.INTERACTIVE.value,
    show_default=True,
    help="Staff wait for interactive; bulk leaves them the way.",
)
@acting_user(required=True, help="Who hands in; a member of staff.")
@click.option(
    "--idempotency-key",
    metavar="TEXT",
    help="A text of your own: repeated with the same one, an upload is taken in once.",
)
@click.option("--wait", is_flag=True, help="Stay until every image has its outcome.")
@AS_JSON
def submit(
    paths: tuple[Path, ...],
    metadata_file: Path | None,
    queue: str,
    email: str,
    idempotency_key: str | None,
    wait: bool,
    as_json: bool,
) -> None:
    """Hand in JPEG, PNG and DICOM files, folders of them, and ZIP or tar archives, as one batch.

    A file that cannot be judged is refused with its reason and holds up no other. Exit code 1: with --wait, some images
    failed.
    """
    console = Console(stderr=True, quiet=as_json)
    metadata = _read(metadata_file)
    with connected() as (settings, sessions):
        with sessions.begin() as session:
            submitter = person(session, email, STAFF)
        with Progress(
            TextColumn("Handing in"), BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=console
        ) as bar:
            files = _shown(paths, metadata_file, bar)
            acceptance = _hand_in(
                settings, sessions, submitter, files, metadata, Queue(queue), idempotency_key
            )
        counts = None
        if wait:
            counts = watch_batch(sessions, submitter.department_id, acceptance.batch_id, console=console)
    _report(acceptance, metadata, counts, as_json)
    sys.exit(1 if counts and counts.failed else 0)


def _read(metadata_file: Path | None) -> Metadata | None:
    if metadata_file is None:
        return None
    with metadata_file.open("rb") as stream:
        return parse_metadata(stream)


def _hand_in(
    settings: Settings,
    sessions: Sessions,
    submitter: User,
    files: Iterator[Incoming],
    metadata: Metadata | None,
    queue: Queue,
    idempotency_key: str | None,
) -> Acceptance:
    with ExitStack() as stack:
        decoders = stack.enter_context(DecoderPool(1))
        wake_up = stack.enter_context(closing(WakeUp(settings)))
        return accept_upload(
            files=files,
            metadata=metadata,
            submitter=submitter,
            actor=actor_of(submitter),
            queue=queue,
            idempotency_key=idempotency_key,
            sessions=sessions,
            store=S3ObjectStore.from_settings(settings),
            keyring=KeyRing(settings.master_key),
            wake_up=wake_up,
            decoders=decoders,
            settings=settings,
        )


def _shown(paths: Sequence[Path], metadata_file: Path | None, bar: Progress) -> Iterator[Incoming]:
    """The files, while a bar follows how much of them has been read."""
    task = bar.add_task("", total=sum(_size(path) for path in paths))
    for file in incoming_files(paths, leave_out=[metadata_file] if metadata_file else []):
        yield file
        if isinstance(file, IncomingFile):
            bar.advance(task, os.fstat(file.stream.fileno()).st_size)


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _report(
    acceptance: Acceptance, metadata: Metadata | None, counts: BatchCounts | None, as_json: bool
) -> None:
    ignored = list(metadata.ignored_columns) if metadata else []
    if as_json:
        answer: dict[str, Any] = {
            "batch": str(acceptance.batch_id),
            "received": acceptance.received,
            "stored": acceptance.stored,
            "rejected": acceptance.rejected,
            "repeated": acceptance.repeated,
            "ignored_columns": ignored,
        }
        if counts is not None:
            answer["states"] = counts.states()
        print_json(answer)
        return
    click.echo(f"Batch {acceptance.batch_id}: {acceptance.received} received, {acceptance.stored} taken in")
    if acceptance.rejected:
        click.echo(f"{acceptance.rejected} were refused; dermabatch results {acceptance.batch_id} says why")
    if ignored:
        click.echo(f"Columns of the CSV that nothing reads: {', '.join(ignored)}")
    if counts is not None:
        click.echo(", ".join(f"{count} {state}" for state, count in counts.states().items() if count))
