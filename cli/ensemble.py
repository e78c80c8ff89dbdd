"""`dermabatch ensemble`: one model of several training runs."""

from pathlib import Path
from typing import Any

import click

from cli.artifact_options import artifact_options, options_from
from cli.training import announce
from cli.training_progress import progress_bars
from training.ensemble import train_ensemble

FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command(context_settings={"show_default": True})
@click.argument("data", type=FOLDER)
@click.argument("runs", type=FOLDER, nargs=-1, required=True, metavar="RUN RUN...")
@click.option("--out", type=FOLDER, required=True, help="Folder for the artifact, which becomes OUT/model.")
@click.option(
    "--input-size", type=click.IntRange(32, 1024), help="Pixels of an edge.  [default: that of the runs]"
)
@artifact_options
def ensemble(data: Path, runs: tuple[Path, ...], out: Path, input_size: int | None, **options: Any) -> None:
    """Average the networks of finished training RUNs on DATA into one model, and write the artifact that serves it.

    Runs that differ by `--seed` alone err differently: together they are better than each. Answering takes as many
    times as long as there are runs.
    """
    with progress_bars() as bars:
        artifact = train_ensemble(data, runs, out, input_size, options_from("ensemble", **options), bars)
    announce(artifact)
