"""`dermabatch data`: fetch, check and divide the images that a model is trained on."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from cli.replacing import replacing
from dermabatch.taxonomy import CLASSES
from training.data import Sample, decoded, inspect_samples, load_pixels, read_samples
from training.download import polite_pool
from training.errors import UnusableData
from training.fetch import HARVARD, PUBLICATIONS, fetch
from training.findings import Findings
from training.near_duplicates import AUDIT_SIZE
from training.split import SPLIT_SEED, Side, divide, split_by_lesion, split_digest, split_table

FOLDER = click.Path(path_type=Path, file_okay=False)


@click.group()
def data() -> None:
    """Fetch, check and divide the images that a model is trained on.

    A folder holds images (.jpg, .jpeg, .png) and tables (.csv, .tab), at any depth. The tables may be those of
    HAM10000, of an ISIC challenge or of the ISIC Archive: they are joined by image.
    """


@data.command()
@click.argument("folder", type=FOLDER)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def check(context: click.Context, folder: Path, as_json: bool) -> None:
    """Read all tables and images in FOLDER and tell all that is wrong with them. Exit code 2 if anything is."""
    samples, findings = inspect_samples(folder)
    with _counting("decoding", len(samples)) as advance:
        for _ in decoded(samples, AUDIT_SIZE, findings):
            advance(1)
    _note_undividable(samples, findings)
    if as_json:
        click.echo(json.dumps(_as_json(samples, findings), indent=2))
    else:
        _print(samples, findings)
    context.exit(2 if findings.problems else 0)


def _note_undividable(samples: Sequence[Sample], findings: Findings) -> None:
    try:
        split_by_lesion(samples, SPLIT_SEED)
    except UnusableData as error:
        findings.notes.append(f"They cannot be divided for training. {error}")


def _as_json(samples: Sequence[Sample], findings: Findings) -> dict[str, Any]:
    images, lesions = _counts(samples)
    return {
        "images": len(samples),
        "lesions": lesions.total(),
        "classes": {name: {"images": images[name], "lesions": lesions[name]} for name in CLASSES},
        "problems": {problem.value: found for problem, found in findings.problems.items()},
        "notes": findings.notes,
    }


def _print(samples: Sequence[Sample], findings: Findings) -> None:
    images, lesions = _counts(samples)
    click.echo("class   images  lesions")
    for name in CLASSES:
        click.echo(f"{name:6} {images[name]:7,} {lesions[name]:8,}")
    click.echo(f"{'all':6} {len(samples):7,} {lesions.total():8,}")
    for note in findings.notes:
        click.echo(f"note: {note}")
    for line in findings.lines():
        click.echo(f"problem: {line}", err=True)


def _counts(samples: Sequence[Sample]) -> tuple[Counter[str], Counter[str]]:
    """Images and lesions by class."""
    lesions = {sample.lesion_id: sample.label for sample in samples}
    return (
        Counter(CLASSES[sample.label] for sample in samples),
        Counter(CLASSES[label] for label in lesions.values()),
    )


@data.command()
@click.argument("folder", type=FOLDER)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="CSV: image_id,side."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def split(folder: Path, out: Path, as_json: bool) -> None:
    """Divide the images in FOLDER as a training run does, and write which stands on which side.

    All images of a lesion stand on one side, every class on each. A lesion of a later side that shows the same as one
    of an earlier side, by its pixels, is left out.
    """
    samples = read_samples(folder)
    with replacing(out) as written:
        with TemporaryDirectory() as cache, _counting("decoding", len(samples)) as advance:
            pixels = load_pixels(samples, AUDIT_SIZE, Path(cache), lambda done: advance(1))
            sides, found = divide(samples, SPLIT_SEED, pixels)
        table = split_table(samples, sides)
        written.write_text(table, encoding="utf-8")
    summary = {
        "split": str(out),
        "digest": split_digest(table),
        "images": {side.value: len(sides[side]) for side in Side},
        "near_duplicates": [
            {
                "images": [samples[twins.first].image_id, samples[twins.second].image_id],
                "correlation": round(twins.correlation, 3),
            }
            for twins in found
        ],
    }
    if as_json:
        click.echo(json.dumps(summary, indent=2))
    else:
        click.echo(f"{out}: split {summary['digest']}")
        click.echo(", ".join(f"{side.value} {len(sides[side]):,}" for side in Side))
        click.echo(f"{len(found)} pairs of near-duplicates across sides")


@data.command("fetch")
@click.argument("name", type=click.Choice(sorted(PUBLICATIONS)))
@click.option("--to", type=FOLDER, help="Where to put it.  [default: the name]")
@click.option("--server", default=HARVARD, show_default=True, help="Dataverse that publishes it.")
def fetch_command(name: str, to: Path | None, server: str) -> None:
    """Download a published data set, check it against its checksums and unpack it.

    Stopped at any moment and started again it goes on where it was.
    """
    folder = to or Path(name)
    publication = PUBLICATIONS[name]
    click.echo(publication.terms, err=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        fetch(publication, folder, polite_pool(), _FetchBars(bars), server)
    click.echo(f"{folder}: {name} is complete. `dermabatch data check {folder}` looks at every image.")


class _FetchBars:
    """One bar a file, first for its bytes, then for the pictures in it."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, Any] = {}

    def received(self, name: str, done: int, size: int | None) -> None:
        self._move(name, done, size)

    def unpacked(self, name: str, done: int, size: int) -> None:
        self._move(f"{name}, unpacking", done, size)

    def _move(self, label: str, done: int, total: int | None) -> None:
        if label not in self._tasks:
            # The bytes of an earlier call are no speed of this one.
            self._tasks[label] = self._bars.add_task(label, total=total, completed=done)
        self._bars.update(self._tasks[label], completed=done)


@contextmanager
def _counting(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error; the function moves it on."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(label, total=total)
        yield lambda steps: bars.advance(task, steps)
