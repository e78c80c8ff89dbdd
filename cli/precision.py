"""`dermabatch precision`: whether a trained model may be served in bf16 or int8."""

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from cli.acting import AS_JSON, print_json
from dermabatch.artifacts import read_artifact
from dermabatch.manifest import LEAST_AGREEMENT
from training.precision import read_precision_images, with_precisions


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="Data set that the model was trained on.",
)
@click.option(
    "--split",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="Which image is on which side: split.csv of its training run.",
)
@AS_JSON
def precision(folder: Path, data: Path, split: Path, as_json: bool) -> None:
    """Measure the unpublished model artifact in FOLDER in bf16 and int8, and write the result into its manifest.

    A reduced precision may serve where 99 % of the images keep their class and triage loses no melanoma. The model has
    another digest afterwards.
    """
    artifact = read_artifact(folder, expected_digest=None, verify_key=None)
    images = read_precision_images(data, split, artifact.manifest.input_size)
    artifact = with_precisions(artifact, images, lambda step: click.echo(f"{step} ...", err=True))
    measured = artifact.manifest.precisions or {}
    if as_json:
        described = {name: {**one.model_dump(), "passes": one.passes} for name, one in measured.items()}
        print_json({"model": artifact.digest, "precisions": described})
        return
    table = Table("precision", "same class", "melanomas lost", "speed", "may serve", box=None)
    for name, one in measured.items():
        table.add_row(
            name,
            f"{one.agreement:.1%}",
            str(one.melanomas_lost),
            f"{one.speed:.2f} x",
            "yes" if one.passes else f"no: below {LEAST_AGREEMENT:.0%} or a melanoma lost",
        )
    Console().print(table)
    click.echo(f"{artifact.folder}: model {artifact.digest}")
