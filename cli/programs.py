"""`dermabatch web | worker | scheduler`: one program of the system, in this process."""

import os

import click

from cli.installation import portal_command
from dermabatch.errors import ConfigurationError
from dermabatch.settings import load_settings

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@click.command()
@click.option("--bind", default="127.0.0.1:8000", show_default=True, help="Address and port to listen on.")
def web(bind: str) -> None:
    """Run the portal and its API under gunicorn."""
    host = bind.rpartition(":")[0].strip("[]")
    if load_settings().trial and host not in _LOOPBACK:
        raise ConfigurationError(
            f"Expected a trial to listen on loopback. Received: {bind}. A hospital's portal runs without"
            " DERMABATCH_TRIAL."
        )
    command = portal_command(bind)
    os.execv(command[0], command)  # noqa: S606 - becomes gunicorn, so that signals reach it


@click.command()
def worker() -> None:
    """Run a worker: one process for each GPU, or one for all cores of a host."""
    from worker.app import main  # noqa: PLC0415 - loads the imaging stack

    main()


@click.command()
@click.option(
    "--training",
    is_flag=True,
    help="Start the training job by DERMABATCH_TRAINING_SCHEDULE, and nothing else.",
)
@click.option(
    "--nights", is_flag=True, help="Start the screenings of DERMABATCH_NIGHT_RUNS, and nothing else."
)
def scheduler(training: bool, nights: bool) -> None:
    """Run the scheduler: sweeps, wakes workers, chains and signs the audit trail, watches the night runs.

    Any number may run, also of each other kind.
    """
    if training and nights:
        raise click.UsageError("--training and --nights are two programs.")
    if nights:
        from worker.nights import main  # noqa: PLC0415 - as below
    elif training:
        from worker.training_schedule import main  # noqa: PLC0415 - each loads what the other does not need
    else:
        from worker.scheduler import main  # noqa: PLC0415 - loads Celery

    main()
