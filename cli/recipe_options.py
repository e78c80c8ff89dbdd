"""The options that make a recipe, for the commands that train."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from dermabatch.architectures import ARCHITECTURES
from training.imbalance import Imbalance
from training.recipe import Recipe, read_recipe

DEFAULTS = Recipe()
EVERY_IMAGE = 0

_OPTIONS = (
    click.option(
        "--network",
        type=click.Choice([name for name, kind in ARCHITECTURES.items() if not kind.made_of_others]),
        default=DEFAULTS.network,
        help="Architecture to train.",
    ),
    click.option(
        "--input-size",
        type=click.IntRange(32, 1024),
        help="Pixels of an edge.  [default: that of the network]",
    ),
    click.option(
        "--epochs",
        type=click.IntRange(min=1),
        default=DEFAULTS.epochs,
        help="Passes over the training images.",
    ),
    click.option(
        "--peak-rate",
        type=click.FloatRange(1e-7, 1),
        default=DEFAULTS.peak_rate,
        help="Highest learning rate.",
    ),
    click.option(
        "--most-per-class",
        type=click.IntRange(min=EVERY_IMAGE),
        default=DEFAULTS.most_per_class,
        help="Images of one class in an epoch; 0 takes every image.",
    ),
    click.option(
        "--imbalance",
        type=click.Choice([kind.value for kind in Imbalance]),
        default=DEFAULTS.imbalance.value,
        help="What keeps rare classes from being drowned.",
    ),
    click.option(
        "--seed", type=click.IntRange(min=0), default=DEFAULTS.seed, help="Of weights, order and views."
    ),
    click.option(
        "--recipe",
        "file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="JSON with fields of a recipe, as `dermabatch tune` writes it; options typed here win.",
    ),
)


def recipe_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options above; it hands them to `recipe_from`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def recipe_from(file: Path | None, **options: Any) -> Recipe:
    """What was typed, then what `file` says, then the defaults.

    Raises:
        UnusableRecipe: see `training.recipe.read_recipe`.
    """
    fields = read_recipe(file) if file else {}
    context = click.get_current_context()
    for name, value in options.items():
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            fields[name] = value
    if fields.get("most_per_class") == EVERY_IMAGE:
        fields["most_per_class"] = None
    if "imbalance" in fields:
        fields["imbalance"] = Imbalance(fields["imbalance"])
    recipe = Recipe(**fields)
    return (
        recipe
        if "input_size" in fields
        else replace(recipe, input_size=ARCHITECTURES[recipe.network].input_size)
    )
