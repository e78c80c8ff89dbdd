"""`dermabatch tune`: searches the numbers of a recipe."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from cli.recipe_options import recipe_from, recipe_options
from cli.training_progress import progress_bars
from training.run import prepare
from training.train import compute_reproducibly
from training.tune import TrialDone
from training.tune import tune as search

FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command(context_settings={"show_default": True})
@click.argument("data", type=FOLDER)
@click.option(
    "--out", type=FOLDER, required=True, help="Folder of the study, its trial runs and the best recipe."
)
@click.option("--trials", type=click.IntRange(min=1), default=20, help="Go on until so many trials are done.")
@recipe_options
@click.option(
    "--weights", type=click.Choice(["imagenet", "none"]), default="imagenet", help="What networks start from."
)
@click.option("--json", "as_json", is_flag=True, help="Print the best trial as JSON.")
def tune(
    data: Path,
    out: Path,
    trials: int,
    file: Path | None,
    weights: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Search learning rate, weight decay, averaging, sampling and augmentation on the images in DATA.

    Only the validation side decides; calibration and test sides stay untouched. Trials that fall behind are stopped
    early. Started again on the same folder, the search goes on. Small images and few epochs make it affordable:
    `--input-size 128 --epochs 6`.
    """
    compute_reproducibly()
    recipe = recipe_from(file, **options)
    with progress_bars() as bars:

        def finished(trial: TrialDone) -> None:
            value = "stopped early" if trial.value is None else f"validation loss {trial.value:.4f}"
            bars.say(f"trial {trial.number + 1}: {value}, {_spelled(trial.choices)}")

        prepared = prepare(data, out, recipe.input_size, bars)
        best = search(prepared, out, recipe, trials, bars, finished, pretrained=weights == "imagenet")
    if as_json:
        click.echo(json.dumps({**asdict(best), "path": str(best.path)}))
    else:
        click.echo(f"Best: validation loss {best.value:.4f} with {_spelled(best.choices)}")
        click.echo(f"Train with it: dermabatch train {data} --recipe {best.path} --out FOLDER")


def _spelled(choices: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in choices.items())
