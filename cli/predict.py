"""`dermabatch predict`: classify files in this process, without any service."""

import csv
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO, get_args

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from cli.replacing import replacing
from dermabatch.artifacts import Artifact
from dermabatch.cores import available_cores
from dermabatch.engines import EngineKind, load_engine
from dermabatch.errors import InvalidRequest
from dermabatch.exports import ISIC_HEADER, NOTICE, isic_row, safe_cell
from dermabatch.imaging.sandbox import DecoderPool
from dermabatch.prediction import Predicted, Unreadable
from dermabatch.prediction import predict as classify
from dermabatch.shipped import shipped_or_named
from dermabatch.taxonomy import CLASSES
from dermabatch.triage import Triage


@dataclass(frozen=True, slots=True)
class Format:
    """Columns of a result file, and how an image becomes a row of it."""

    header: Sequence[str]
    row: Callable[[Predicted], Sequence[str | float]]


def _csv_row(predicted: Predicted) -> list[str | float]:
    assessment = predicted.assessment
    return [
        safe_cell(str(predicted.path)),
        *assessment.probabilities,
        assessment.predicted_class,
        assessment.malignant_probability,
        assessment.triage.value,
        assessment.reason,
        " ".join(predicted.quality.flags),
    ]


def _isic_row(predicted: Predicted) -> list[str | float]:
    return isic_row(predicted.path.stem, predicted.assessment.scores)


FORMATS: Final = {
    "csv": Format(
        ("file", *(f"p_{code}" for code in CLASSES), "class", "malignant", "triage", "reason", "flags"),
        _csv_row,
    ),
    "isic": Format(ISIC_HEADER, _isic_row),
}


@click.command()
@click.argument(
    "paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True), metavar="PATH..."
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write, whole or not at all.",
)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(list(FORMATS)),
    default="csv",
    show_default=True,
    help="csv: calibrated probabilities and triage. isic: scores as ISIC 2018 Task 3 wants them.",
)
@click.option(
    "--model",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of a model artifact; the shipped model if not given.",
)
@click.option("--engine", type=click.Choice(get_args(EngineKind)), default="auto", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a summary.")
def predict(
    paths: Sequence[Path], out: Path, format_name: str, model: Path | None, engine: EngineKind, as_json: bool
) -> None:
    """Classify the images at PATH..., files or folders, without any service.

    Files that are no images are listed with their reasons on standard error and end it with exit code 1.
    """
    files = _files(paths)
    if format_name == "isic":
        _check_stems(files)
    started = time.monotonic()
    artifact = shipped_or_named(model)
    with (
        replacing(out) as partial,
        partial.open("w", encoding="utf-8", newline="") as stream,
        DecoderPool(available_cores()) as decoders,
        closing(load_engine(artifact.folder, artifact.manifest, engine)) as loaded,
    ):
        engine_name = loaded.name
        chunks = classify(files, engine=loaded, artifact=artifact, decoders=decoders)
        levels, unreadable = _write(stream, FORMATS[format_name], chunks, len(files))
    for file in unreadable:
        click.echo(f"{file.path}: {file.message}", err=True)
    summary = {
        "out": str(out),
        "files": len(files),
        "classified": levels.total(),
        "triage": {level.value: levels[level] for level in Triage},
        "unreadable": [{"file": str(f.path), "reason": f.reason, "message": f.message} for f in unreadable],
        "model": artifact.digest,
        "engine": engine_name,
        "seconds": round(time.monotonic() - started, 3),
        "notice": NOTICE,
    }
    click.echo(json.dumps(summary) if as_json else _sentences(summary, artifact))
    if unreadable:
        sys.exit(1)


def _files(paths: Sequence[Path]) -> list[Path]:
    """The files themselves and all in the folders, each once, in order; hidden ones are left out of folders."""
    found: dict[Path, None] = {}
    for path in paths:
        found.update(dict.fromkeys(_walk(path) if path.is_dir() else [path]))
    if not found:
        raise InvalidRequest(f"Expected images. Received: no file in {', '.join(map(str, paths))}")
    return list(found)


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in sorted(names) if not name.startswith("."))


def _check_stems(files: Sequence[Path]) -> None:
    """In the ISIC format the stem is all that names an image."""
    twice = [stem for stem, times in Counter(file.stem for file in files).items() if times > 1]
    if twice:
        raise InvalidRequest(
            f"Expected names that differ before their suffix, as the isic format needs. Received: {len(twice)} of"
            f" them more than once, {twice[0]} first"
        )


def _write(
    stream: TextIO, format_: Format, chunks: Iterator[list[Predicted | Unreadable]], files: int
) -> tuple[Counter[Triage], list[Unreadable]]:
    """Write the rows as they come; returns how many images stand at each level, and what could not be read."""
    levels: Counter[Triage] = Counter()
    unreadable: list[Unreadable] = []
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(format_.header)
    with _progress() as progress:
        task = progress.add_task("", total=files, unreadable=0)
        for chunk in chunks:
            for outcome in chunk:
                if isinstance(outcome, Unreadable):
                    unreadable.append(outcome)
                    continue
                writer.writerow(format_.row(outcome))
                levels[outcome.assessment.triage] += 1
            progress.update(task, advance=len(chunk), unreadable=len(unreadable))
    return levels, unreadable


def _progress() -> Progress:
    return Progress(
        BarColumn(),
        MofNCompleteColumn(),
        _Speed(),
        TextColumn("{task.fields[unreadable]} unreadable"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


class _Speed(ProgressColumn):
    """Images a second, once that is known."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.0f} images/s" if task.speed else "")


def _sentences(summary: dict[str, Any], artifact: Artifact) -> str:
    levels = ", ".join(
        f"{number} {Triage(level).label.lower()}" for level, number in summary["triage"].items()
    )
    speed = f"{summary['seconds']:.1f} s on {summary['engine']}"
    return (
        f"{summary['classified']} of {summary['files']} files classified in {speed}: {levels}.\n"
        f"Results: {summary['out']}\n"
        f"Model: {artifact.manifest.name}, {artifact.digest}\n"
        f"{NOTICE}"
    )
