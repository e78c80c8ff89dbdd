"""`dermabatch demo`: the whole system on sample images, in one terminal."""

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from cli.installation import Installation, Login, running_installation
from cli.portal_client import PortalClient, Upload
from cli.up import wait_for_interrupt
from dermabatch import accounts, audit
from dermabatch.embedded.host import private_ancestor, wait_until
from dermabatch.errors import InvalidRequest
from dermabatch.imaging.synthetic import lesion_jpeg, lesion_png
from dermabatch.intake import IncomingFile, incoming_files
from dermabatch.production import DEMO_DOMAIN
from dermabatch.taxonomy import BY_CODE

SAMPLES = 24
"""Enough for every triage level to have a chance, few enough to be read at a glance."""

STAFF = f"nurse{DEMO_DOMAIN}"
ADMINISTRATOR = f"admin{DEMO_DOMAIN}"
_BATCH_SECONDS = 3600
_CHAIN_SECONDS = 30
_SHOWN = 40

_FOLDER = Path(".dermabatch/demo")

console = Console(stderr=True)


@click.command()
@click.option(
    "--images", type=click.Path(exists=True, path_type=Path), help="Your own file, folder or archive."
)
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="Of the portal.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help=f"Where data and logs lie.  [default: {_FOLDER}]",
)
@click.option("--exit", "exit_after", is_flag=True, help="End after the results instead of staying up.")
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object on standard output and nothing else there."
)
def demo(images: Path | None, port: int, folder: Path | None, exit_after: bool, as_json: bool) -> None:
    """Start everything, classify a sample batch, show the results and stay up until Ctrl-C.

    Without --images the demo paints its own pictures. They look like lesions and are none: results mean nothing.
    """
    started = time.monotonic()
    uploads = _own(images) if images else _painted()
    with (
        _data_folder(folder) as data,
        running_installation(data, port=port, tell=lambda step: console.print(f"{step} ...")) as installation,
    ):
        people = _open_house(installation)
        batch = _classify(installation, uploads)
        shown = _Shown(
            batch=batch["id"],
            model=installation.activate_shipped_model(ADMINISTRATOR),
            states=batch["states"],
            results=batch["results"],
            seconds=round(time.monotonic() - started, 2),
            audit_verified=_audit_verified(installation),
        )
        if as_json:
            click.echo(json.dumps(shown.__dict__))
        else:
            _show(shown, painted=images is None)
        if not exit_after:
            _show_portal(installation, people, shown.batch)
            wait_for_interrupt()
    sys.exit(1 if shown.states["failed"] else 0)


@dataclass(frozen=True)
class _Shown:
    batch: str
    model: str
    states: dict[str, int]
    results: list[dict[str, Any]]
    seconds: float
    audit_verified: bool


@contextmanager
def _data_folder(chosen: Path | None) -> Iterator[Path]:
    """The folder asked for, or the usual one; for root in a private place, one that is gone after the demo."""
    if chosen is not None:
        yield chosen
        return
    _FOLDER.parent.mkdir(exist_ok=True)
    usual = _FOLDER.absolute()
    private = private_ancestor(usual) if os.geteuid() == 0 else None
    if private is None:
        yield usual
        return
    # PostgreSQL refuses to be root, and no other account may pass through here.
    with TemporaryDirectory(
        prefix="dermabatch-demo-", dir="/var/tmp", ignore_cleanup_errors=True
    ) as elsewhere:
        console.print(f"{private} is private to root: the data goes to {elsewhere} and is removed at the end")
        yield Path(elsewhere)


def _painted() -> list[Upload]:
    console.print(
        f"Painting {SAMPLES} synthetic pictures: their results mean nothing. Yours: make demo IMAGES=DIR"
    )
    lesions = [Upload(f"sample-{seed:02d}.jpg", lesion_jpeg(seed)) for seed in range(1, SAMPLES)]
    return [
        *lesions,
        Upload(f"sample-{SAMPLES:02d}.png", lesion_png(SAMPLES)),
        Upload("letter.jpg", b"Dear colleague, this is not a picture."),
    ]


def _own(path: Path) -> Iterator[Upload]:
    """One file after the other: a folder may hold more than the memory."""
    if not any(isinstance(file, IncomingFile) for file in incoming_files([path])):
        raise InvalidRequest(f"Expected images in {path}. Received: nothing that can be read")
    return _read(path)


def _read(path: Path) -> Iterator[Upload]:
    for file in incoming_files([path]):
        if isinstance(file, IncomingFile):
            yield Upload(file.name, file.stream.read())
        else:
            console.print(f"Left out {file.name}: {file.message}", markup=False)


def _open_house(installation: Installation) -> Sequence[Login]:
    people = (
        installation.person(STAFF, "Nurse", accounts.STAFF),
        installation.person(ADMINISTRATOR, "Administrator", accounts.ADMINISTRATOR),
    )
    installation.activate_shipped_model(ADMINISTRATOR)
    return people


def _classify(installation: Installation, uploads: Iterable[Upload]) -> dict[str, Any]:
    token = installation.token(STAFF, accounts.Scope.BATCHES_WRITE, accounts.Scope.BATCHES_READ)
    client = PortalClient(installation.portal_url, token)
    console.print("Uploading ...")
    batch_id = client.submit(uploads)
    with _progress() as progress:
        task = progress.add_task("Classifying", total=None)
        for batch in client.follow(batch_id, timeout_seconds=_BATCH_SECONDS):
            received = batch["received"]
            progress.update(task, total=received, completed=received - batch["states"]["pending"])
    return {**batch, "results": client.results(batch_id)}


@contextmanager
def _progress() -> Iterator[Progress]:
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    ) as progress:
        yield progress


def _audit_verified(installation: Installation) -> bool:
    """Whether the trail holds, once the events of this run are in the chain."""

    def chained() -> bool:
        with installation.sessions.begin(auditor=True) as session:
            return audit.BacklogWatch().look(session).waiting == 0

    wait_until(chained, seconds=_CHAIN_SECONDS)
    with installation.sessions.begin(auditor=True) as session:
        return audit.verify(session, installation.store, installation.settings.verify_key, full=True).ok


_MARKS = {
    "urgent": "[red]▲ urgent[/]",
    "cannot_assess": "[magenta]▨ cannot assess[/]",
    "soon": "[yellow]● soon[/]",
}


def _show(shown: _Shown, *, painted: bool) -> None:
    table = Table(
        "Triage", "File", "Class", "Malignant", "Conformal set", title=f"Batch {shown.batch}", box=None
    )
    for result in shown.results[:_SHOWN]:
        table.add_row(*_row(result))
    out = Console()
    out.print(table)
    if len(shown.results) > _SHOWN:
        out.print(f"... and {len(shown.results) - _SHOWN} more: the portal shows them all.")
    states = ", ".join(f"{count} {state}" for state, count in shown.states.items() if count)
    trail = "verified" if shown.audit_verified else "[red]NOT verified[/]"
    out.print(f"\n{states} in {shown.seconds} s; audit trail {trail}; model {shown.model[:12]}")
    if painted:
        out.print("The pictures were painted by this program: these results mean nothing.")
    out.print("Assistive use only. Not a medical device. A clinician decides.")


def _row(result: dict[str, Any]) -> tuple[str, ...]:
    if result["class"] is None:
        return (f"[dim]{result['state']}[/]", result["file"], f"[dim]{result['reason']}[/]", "", "")
    return (
        _MARKS.get(result["triage"], "○ not flagged"),
        result["file"],
        BY_CODE[result["class"]].label,
        f"{result['malignant_probability']:.2f}",
        " ".join(result["conformal_set"]),
    )


def _show_portal(installation: Installation, people: Sequence[Login], batch_id: str) -> None:
    out = Console()
    out.print(f"\nPortal: [bold]{installation.portal_url}/batches/{batch_id}[/bold]")
    for login in people:
        out.print(f"  {login.email:<22} password: {login.password}")
    out.print("Ctrl-C stops everything.")
