"""The options of commands that end with a model artifact."""

import re
from collections.abc import Callable
from typing import Any

import click

from training.finish import Options
from training.report.of_artifact import Effort

_OPTIONS = (
    click.option("--name", help="Name of the model, for people.  [default: of the network and the data]"),
    click.option("--data-name", default="HAM10000", help="What the model's card calls the data."),
    click.option(
        "--report",
        type=click.Choice([effort.value for effort in Effort]),
        default=Effort.QUICK.value,
        help="What its report measures besides the plain figures (worse pictures, eight poses, explanations):"
        " nothing, on a few images, on all.",
    ),
)


def artifact_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options above; it hands them to `options_from`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def options_from(network: str, *, name: str | None, data_name: str, report: str, **others: Any) -> Options:
    """What was typed; a model without a name is called after its network and its data."""
    default_name = re.sub("[^a-z0-9.]+", "-", f"{network}-{data_name}".lower())
    return Options(name=name or default_name, data_name=data_name, effort=Effort(report), **others)
