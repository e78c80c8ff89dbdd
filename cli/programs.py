"""`dermabatch web | worker | scheduler`: one program of the system, in this process."""

import os

import click

from cli.installation import portal_command


@click.command()
@click.option("--bind", default="127.0.0.1:8000", show_default=True, help="Address and port to listen on.")
def web(bind: str) -> None:
    """Run the portal and its API under gunicorn."""
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
def scheduler(training: bool) -> None:
    """Run the scheduler: sweeps, wakes workers, chains and signs the audit trail. Any number may run."""
    if training:
        from worker.training_schedule import main  # noqa: PLC0415 - each loads what the other does not need
    else:
        from worker.scheduler import main  # noqa: PLC0415 - loads Celery

    main()
