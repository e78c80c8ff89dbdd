"""`dermabatch train`: from a folder of images to a model artifact."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from cli.artifact_options import artifact_options, options_from
from cli.publishing import publish_trained, publisher
from cli.recipe_options import recipe_from, recipe_options
from cli.training_progress import progress_bars
from dermabatch import accounts
from dermabatch.artifacts import Artifact
from training.finish import train_model
from training.run import SPLIT
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
@artifact_options
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
    report: str,
    publish: bool,
    **recipe_fields: Any,
) -> None:
    """Train a network on the images in DATA, and write the artifact that serves it.

    DATA has the published layout of HAM10000: HAM10000_metadata.csv, and the images in folders below it.
    """
    compute_reproducibly()
    recipe = recipe_from(file, **recipe_fields)
    options = options_from(
        recipe.network,
        name=name,
        data_name=data_name,
        report=report,
        resume=resume,
        pretrained=weights == "imagenet",
    )
    with publisher(accounts.TRAINER) if publish else nullcontext() as publishing:
        with progress_bars() as bars:
            artifact = train_model(data, out, recipe, options, bars)
        announce(artifact)
        if publishing is not None:
            publish_trained(artifact.folder, data, out / SPLIT, publishing)


def announce(artifact: Artifact) -> None:
    """Say where a finished model lies and how good it is."""
    low, high = artifact.manifest.metrics.bma_interval
    click.echo(f"{artifact.folder}: model {artifact.digest}")
    click.echo(f"BMA {artifact.manifest.metrics.bma:.3f} (95 %: {low:.3f} to {high:.3f}) on held-out lesions")
