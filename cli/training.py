"""`dermabatch train`: from a folder of images to a model artifact."""

from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dermabatch.networks import BUILDERS
from training.run import Options, train_model
from training.train import Recipe, StepDone, compute_reproducibly

FOLDER = click.Path(path_type=Path, file_okay=False)
DEFAULTS = Recipe()


@click.command(context_settings={"show_default": True})
@click.argument("data", type=FOLDER)
@click.option("--out", type=FOLDER, required=True, help="Folder of the run; the artifact becomes OUT/model.")
@click.option(
    "--network", type=click.Choice(sorted(BUILDERS)), default=DEFAULTS.network, help="Architecture to train."
)
@click.option(
    "--input-size", type=click.IntRange(32, 1024), default=DEFAULTS.input_size, help="Pixels of an edge."
)
@click.option(
    "--epochs", type=click.IntRange(min=1), default=DEFAULTS.epochs, help="Passes over the training images."
)
@click.option("--resume", is_flag=True, help="Go on with the run in OUT after its last finished epoch.")
@click.option(
    "--weights",
    type=click.Choice(["imagenet", "none"]),
    default="imagenet",
    help="What the network starts from.",
)
@click.option("--name", default="efficientnet-lite0-ham10000-1", help="Name of the model, for people.")
@click.option("--data-name", default="HAM10000", help="What the model's card calls the data.")
def train(
    data: Path,
    out: Path,
    network: str,
    input_size: int,
    epochs: int,
    resume: bool,
    weights: str,
    name: str,
    data_name: str,
) -> None:
    """Train a network on the images in DATA, and write the artifact that serves it.

    DATA has the published layout of HAM10000: HAM10000_metadata.csv, and the images in folders below it.
    """
    compute_reproducibly()
    recipe = Recipe(network=network, input_size=input_size, epochs=epochs)
    options = Options(resume=resume, pretrained=weights == "imagenet", name=name, data_name=data_name)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        artifact = train_model(data, out, recipe, options, ProgressBars(bars))
    low, high = artifact.manifest.metrics.bma_interval
    click.echo(f"{artifact.folder}: model {artifact.digest}")
    click.echo(f"BMA {artifact.manifest.metrics.bma:.3f} (95 %: {low:.3f} to {high:.3f}) on held-out lesions")


class ProgressBars:
    """Draws decoding and training as bars with the time left, and keeps one line for each epoch."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._decoding = bars.add_task("decoding", total=None, visible=False)
        self._training = bars.add_task("training", total=None, visible=False)

    def decoded(self, done: int, images: int) -> None:
        """Move the bar of the images."""
        self._bars.update(self._decoding, completed=done, total=images, visible=True)

    def stepped(self, step: StepDone) -> None:
        """Move the bar of the steps."""
        self._bars.update(
            self._training,
            completed=step.number,
            total=step.steps,
            description=f"training, loss {step.loss:.3f}",
            visible=True,
        )

    def finished_epoch(self, record: dict[str, float]) -> None:
        """Print what the epoch came to."""
        self._bars.console.print(
            f"epoch {record['epoch']:.0f}: loss {record['loss']:.3f}, "
            f"validation BMA {record['validation_bma']:.3f}, {record['seconds']:.0f} s"
        )
