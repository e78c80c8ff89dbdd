"""`dermabatch results`: what came out of a batch, on the terminal or in a file."""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sqlalchemy.orm import Session

from cli.acting import acting_user, actor_of, connected, person
from dermabatch import audit
from dermabatch import results as batch_results
from dermabatch.accounts import STAFF
from dermabatch.audit import Action, Event, Outcome
from dermabatch.exports import NOTICE, csv_lines, isic_lines
from dermabatch.ledger import BatchCounts, counts
from dermabatch.results import Result, record
from dermabatch.schema import Batch, User
from dermabatch.subjects import KeyRing
from dermabatch.triage import Triage

_LOOKS: Final = {
    Triage.URGENT: "[bold red]▲ urgent[/]",
    Triage.CANNOT_ASSESS: "[magenta]▨ cannot assess[/]",
    Triage.SOON: "[yellow]● soon[/]",
    Triage.NOT_FLAGGED: "[dim]○ not flagged[/]",
}


@click.command("results")
@click.argument("batch", type=click.UUID)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json", "isic"]),
    default="table",
    show_default=True,
    help="isic: scores of the predicted images, as the ISIC 2018 challenge takes them.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file.")
@acting_user(required=True, help="Who reads; a member of staff.")
def results(batch: UUID, form: str, as_json: bool, out: Path | None, email: str) -> None:
    """Show the results of a batch, most suspicious first.

    Exit code 1: some of its images failed.
    """
    form = "json" if as_json else form
    with connected() as (settings, sessions):
        with sessions.begin() as session:
            reader = person(session, email, STAFF)
        with sessions.begin(department=reader.department_id) as session:
            # Committed before the first line is written: whoever breaks the pipe has read what came.
            _note(session, reader, batch_results.find_batch(session, batch), form)
        with sessions.begin(department=reader.department_id) as session:
            found = batch_results.find_batch(session, batch)
            counted = counts(session, batch)
            rows = batch_results.every(session, batch, keyring=KeyRing(settings.master_key))
            if form == "table":
                with click.open_file(str(out or "-"), "w", encoding="utf-8") as file:
                    console = Console(file=file)
                    console.print(results_table(rows))
                    console.print(counts_line(counted), NOTICE, sep="\n", highlight=False)
            else:
                _write(_lines(form, session, found, counted, rows), out)
    sys.exit(1 if counted.failed else 0)


def results_table(rows: Iterable[Result]) -> Table:
    """Results as a terminal shows them, in the order in which they come."""
    table = Table("triage", "file", "class", "malignant", "could be", "why", box=None, header_style="bold")
    table.columns[3].justify = "right"
    for row in rows:
        table.add_row(*_cells(row))
    return table


def counts_line(counted: BatchCounts) -> str:
    """`8 received: 6 classified, 1 rejected, 1 pending`."""
    states = ", ".join(f"{count} {state}" for state, count in counted.states().items() if count)
    return f"{counted.received} received: {states}"


def _cells(row: Result) -> tuple[str, ...]:
    name = escape(row.file_name or f"(erased) {row.image.id}")
    prediction = row.prediction
    if prediction is None:
        return f"[dim]{row.image.state.value}[/]", name, "", "", "", escape(row.image.reason or "")
    return (
        _LOOKS[prediction.triage],
        name,
        prediction.predicted_class,
        f"{prediction.malignant_probability:.1%}",
        " ".join(prediction.conformal_set),
        escape(prediction.triage_reason),
    )


def _lines(
    form: str, session: Session, batch: Batch, counted: BatchCounts, rows: Iterable[Result]
) -> Iterator[str]:
    if form == "csv":
        return csv_lines(rows)
    if form == "isic":
        return isic_lines(rows)
    return iter([json.dumps(_as_object(session, batch, counted, rows)) + "\n"])


def _as_object(
    session: Session, batch: Batch, counted: BatchCounts, rows: Iterable[Result]
) -> dict[str, Any]:
    return {
        "batch": str(batch.id),
        "state": batch.state.value,
        "received": counted.received,
        "states": counted.states(),
        "models": batch_results.models_of(session, batch.id),
        "results": [record(row) for row in rows],
        "notice": NOTICE,
    }


def _write(lines: Iterator[str], out: Path | None) -> None:
    # CSV brings its own line ends.
    with click.open_file(str(out or "-"), "w", encoding="utf-8") as file:
        for line in lines:
            file.write(line)


def _note(session: Session, reader: User, batch: Batch, form: str) -> None:
    action = Action.BATCH_VIEW if form == "table" else Action.BATCH_EXPORT
    audit.append(
        session,
        Event(
            action,
            Outcome.SUCCESS,
            actor=actor_of(reader),
            department_id=batch.department_id,
            object_type="batch",
            object_id=str(batch.id),
            details={"format": form},
        ),
    )
