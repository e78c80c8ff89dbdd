"""`dermabatch train`: from a folder of images to a model artifact."""

import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from cli.publishing import publish_trained, publisher
from cli.recipe_options import recipe_from, recipe_options
from cli.training_progress import progress_bars
from dermabatch import accounts
from training.run import SPLIT, Options, train_model
from training.train import compute_reproducibly

FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command(context_settings={"show_default": True})
@click.argument("data", type=FOLDER)
@click.option("--out", type=FOLDER, required=True, help="Folder of the run; the artifact becomes OUT/model.")
@recipe_options
@click.option("--resume", is_flag=True, help="Go on with the run in OUT after its last finished epoch.")
@click.option(
    "--weights",
    type=click.Choice(["imagenet", "none"]),
    default="imagenet",
    help="What the network starts from.",
)
@click.option("--name", help="Name of the model, for people.  [default: of the network and the data]")
@click.option("--data-name", default="HAM10000", help="What the model's card calls the data.")
@click.option(
    "--publish", is_flag=True, help="Then ask the gate and publish the model, as the training job does."
)
def train(
    data: Path,
    out: Path,
    file: Path | None,
    resume: bool,
    weights: str,
    name: str | None,
    data_name: str,
    publish: bool,
    **options: Any,
) -> None:
    """Train a network on the images in DATA, and write the artifact that serves it.

    DATA has the published layout of HAM10000: HAM10000_metadata.csv, and the images in folders below it.
    """
    compute_reproducibly()
    recipe = recipe_from(file, **options)
    default_name = re.sub("[^a-z0-9.]+", "-", f"{recipe.network}-{data_name}".lower())
    asked = Options(
        resume=resume, pretrained=weights == "imagenet", name=name or default_name, data_name=data_name
    )
    with publisher(accounts.TRAINER) if publish else nullcontext() as publishing:
        with progress_bars() as bars:
            artifact = train_model(data, out, recipe, asked, bars)
        low, high = artifact.manifest.metrics.bma_interval
        click.echo(f"{artifact.folder}: model {artifact.digest}")
        click.echo(
            f"BMA {artifact.manifest.metrics.bma:.3f} (95 %: {low:.3f} to {high:.3f}) on held-out lesions"
        )
        if publishing is not None:
            publish_trained(artifact.folder, data, out / SPLIT, publishing)
