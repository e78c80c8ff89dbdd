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

from cli.particulars import Told, particulars_options, read_particulars
from cli.replacing import replacing
from dermabatch.artifacts import Artifact
from dermabatch.clinical import Field
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
        " ".join(assessment.fields_used),
    ]


def _isic_row(predicted: Predicted) -> list[str | float]:
    return isic_row(predicted.path.stem, predicted.assessment.scores)


FORMATS: Final = {
    "csv": Format(
        (
            *("file", *(f"p_{code}" for code in CLASSES), "class", "malignant"),
            *("triage", "reason", "flags", "fields_used"),
        ),
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
@particulars_options
@click.option(
    "--model",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of a model artifact; the shipped model if not given.",
)
@click.option("--engine", type=click.Choice(get_args(EngineKind)), default="auto", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a summary.")
def predict(
    paths: Sequence[Path],
    out: Path,
    format_name: str,
    metadata_file: Path | None,
    age: str | None,
    sex: str | None,
    localization: str | None,
    model: Path | None,
    engine: EngineKind,
    as_json: bool,
) -> None:
    """Classify the images at PATH..., files or folders, without any service.

    Files that are no images are listed with their reasons on standard error and end it with exit code 1. Age, sex and
    place on the body are weighed by models that gain from them; the column fields_used names what was.
    """
    files = _files(paths, metadata_file)
    if format_name == "isic":
        _check_stems(list(files))
    told = read_particulars(files, metadata_file, {"age": age, "sex": sex, "localization": localization})
    started = time.monotonic()
    artifact = shipped_or_named(model)
    with (
        replacing(out) as partial,
        partial.open("w", encoding="utf-8", newline="") as stream,
        DecoderPool(available_cores()) as decoders,
        closing(load_engine(artifact.folder, artifact.manifest, engine)) as loaded,
    ):
        engine_name = loaded.name
        chunks = classify(told.of_file, engine=loaded, artifact=artifact, decoders=decoders)
        tally = _write(stream, FORMATS[format_name], chunks, len(files))
    for file in tally.unreadable:
        click.echo(f"{file.path}: {file.message}", err=True)
    summary = {
        "out": str(out),
        "files": len(files),
        "classified": tally.levels.total(),
        "triage": {level.value: tally.levels[level] for level in Triage},
        "fields_used": {field.value: tally.fields[field] for field in Field},
        "metadata_without_file": told.without_file,
        "ignored_columns": list(told.ignored_columns),
        "unreadable": [
            {"file": str(f.path), "reason": f.reason, "message": f.message} for f in tally.unreadable
        ],
        "model": artifact.digest,
        "engine": engine_name,
        "seconds": round(time.monotonic() - started, 3),
        "notice": NOTICE,
    }
    click.echo(json.dumps(summary) if as_json else _sentences(summary, artifact, told))
    if tally.unreadable:
        sys.exit(1)


def _files(paths: Sequence[Path], metadata_file: Path | None) -> dict[Path, str]:
    """The files themselves and all in the folders, each once, in order, with the names that intake would give them.

    Hidden files are left out of folders, and so is the CSV.
    """
    found: dict[Path, str] = {}
    for path in paths:
        if path.is_dir():
            found |= {file: file.relative_to(path).as_posix() for file in _walk(path)}
        else:
            found[path] = path.name
    if metadata_file is not None:
        table = metadata_file.resolve()
        found = {file: name for file, name in found.items() if file.resolve() != table}
    if not found:
        raise InvalidRequest(f"Expected images. Received: no file in {', '.join(map(str, paths))}")
    return found


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


@dataclass(frozen=True, slots=True)
class _Tally:
    """How many images stand at each level, for how many each field was used, and what could not be read."""

    levels: Counter[Triage]
    fields: Counter[Field]
    unreadable: list[Unreadable]


def _write(
    stream: TextIO, format_: Format, chunks: Iterator[list[Predicted | Unreadable]], files: int
) -> _Tally:
    """Write the rows as they come."""
    tally = _Tally(Counter(), Counter(), [])
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(format_.header)
    with _progress() as progress:
        task = progress.add_task("", total=files, unreadable=0)
        for chunk in chunks:
            for outcome in chunk:
                if isinstance(outcome, Unreadable):
                    tally.unreadable.append(outcome)
                    continue
                writer.writerow(format_.row(outcome))
                tally.levels[outcome.assessment.triage] += 1
                tally.fields.update(outcome.assessment.fields_used)
            progress.update(task, advance=len(chunk), unreadable=len(tally.unreadable))
    return tally


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


def _sentences(summary: dict[str, Any], artifact: Artifact, told: Told) -> str:
    levels = ", ".join(
        f"{number} {Triage(level).label.lower()}" for level, number in summary["triage"].items()
    )
    speed = f"{summary['seconds']:.1f} s on {summary['engine']}"
    return "\n".join(
        [
            f"{summary['classified']} of {summary['files']} files classified in {speed}: {levels}.",
            *_besides_the_picture(summary, artifact, told),
            f"Results: {summary['out']}",
            f"Model: {artifact.manifest.name}, {artifact.digest}",
            NOTICE,
        ]
    )


def _besides_the_picture(summary: dict[str, Any], artifact: Artifact, told: Told) -> Iterator[str]:
    """What became of that which was told."""
    used = [f"{field} for {number}" for field, number in summary["fields_used"].items() if number]
    if used:
        yield f"Weighed beside the picture: {', '.join(used)}."
    elif told.anything and artifact.manifest.fusion is None:
        yield "This model looks at the picture alone: what was told besides was not used."
    elif told.anything:
        yield "Nothing of what was told besides the picture could be weighed."
    if told.without_file:
        yield f"Lines of the CSV that name none of these files: {told.without_file}"
    if told.ignored_columns:
        yield f"Columns of the CSV that nothing reads: {', '.join(told.ignored_columns)}"
