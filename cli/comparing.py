"""Two models on the same held-out images: the options that name the images, and the table of what came of it."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from dermabatch.artifacts import Artifact
from dermabatch.errors import ConfigurationError, InvalidRequest
from dermabatch.gate import Compared, Figures, Gate
from training.split import Side

_FOLDER: Final = click.Path(path_type=Path, exists=True, file_okay=False)
_FILE: Final = click.Path(path_type=Path, exists=True, dir_okay=False)
_SIDES: Final = (Side.TEST, Side.CALIBRATION, Side.VALIDATION)


@dataclass(frozen=True, slots=True)
class Comparison:
    """On which images two models are compared; None for `data` where they are not."""

    data: Path | None
    split: Path | None
    side: Side
    other_split: bool

    @property
    def is_wanted(self) -> bool:
        """Whether images were named.

        Raises:
            InvalidRequest: half of what is needed was.
        """
        if (self.data is None) != (self.split is None):
            raise InvalidRequest(
                "Expected --data and --split together: the images, and which of them are held out."
            )
        return self.data is not None

    def run(self, candidate: Artifact, active: Artifact) -> Gate:
        """Measure both, with a bar on standard error.

        Raises:
            ConfigurationError: the extra `training` is not installed here.
            UnusableData, ArtifactRefused: see `training.gate.compare`.
        """
        try:
            from training.gate import compare, read_held_out  # noqa: PLC0415 - the registry is read without the extra
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"Measuring models needs {error.name}. Install it with the extra: dermabatch[training]."
            ) from None
        assert self.data is not None
        assert self.split is not None
        held_out = read_held_out(self.data, self.split, self.side)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as bars:
            task = bars.add_task("comparing", total=2 * len(held_out.samples))
            return compare(
                candidate,
                active,
                held_out,
                other_split=self.other_split,
                progress=lambda done, answers: bars.update(task, completed=done, total=answers),
            )


def comparison_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a `Comparison`, which the command gets as keyword arguments of its fields."""
    options = (
        click.option("--data", type=_FOLDER, help="Data set with the held-out images, as `train` takes it."),
        click.option(
            "--split", type=_FILE, help="Which image is on which side: split.csv of a training run."
        ),
        click.option(
            "--side",
            type=click.Choice([side.value for side in _SIDES]),
            default=Side.TEST.value,
            show_default=True,
            help="Which side is held out.",
        ),
        click.option(
            "--other-split",
            is_flag=True,
            help="Compare although a model was trained by another split and may know some of the images.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def show(gate: Gate, names: tuple[str, str] = ("candidate", "active")) -> None:
    """Print both models' figures side by side on each basis, and what must be known of them."""
    for basis, compared in gate.compared.items():
        click.echo(basis.label)
        Console().print(_table(compared, names))
    click.echo(
        f"{gate.images} images of {gate.lesions} lesions, {gate.side} side of split {gate.split_digest[:12]}"
    )
    for remark in gate.remarks:
        click.echo(remark)


def _table(compared: Compared, names: tuple[str, str]) -> Table:
    table = Table("", *names, box=None)
    for field in fields(Figures):
        values = (getattr(figures, field.name) for figures in (compared.candidate, compared.active))
        table.add_row(field.name.replace("_", " "), *(f"{value:.3f}" for value in values))
    difference = compared.bma_difference
    table.add_row(
        "bma difference", f"{difference.value:+.3f}", f"{difference.low:+.3f} to {difference.high:+.3f}"
    )
    return table
