"""`dermabatch up`."""

import signal
from pathlib import Path
from threading import Event

import click
from rich.console import Console

from cli.installation import Login, running_installation
from dermabatch import accounts
from dermabatch.embedded import default_folder

console = Console(stderr=True)


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=None,
    help="Where all data lies.  [default: per user]",
)
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="Of the portal.")
@click.option("--administrator", metavar="EMAIL", help="Make this person, or give them a new password.")
@click.option("--staff", metavar="EMAIL", help="Make this person, or give them a new password.")
def up(folder: Path | None, port: int, administrator: str | None, staff: str | None) -> None:
    """Start everything on this machine and keep it running until Ctrl-C.

    The same folder starts again with the same data. DERMABATCH_REDIS_URL, DERMABATCH_S3_ENDPOINT, or all of
    DERMABATCH_OWNER_URL, _WEB_URL, _WORKER_URL, _CHAINER_URL and _TRAINER_URL in the environment replace the embedded
    service by a real one.
    """
    folder = folder or default_folder()
    with running_installation(
        folder, port=port, tell=lambda step: console.print(f"{step} ...")
    ) as installation:
        if administrator:
            _show(installation.person(administrator, administrator, accounts.ADMINISTRATOR))
            if installation.active_model() is None:
                installation.activate_shipped_model(administrator)
        if staff:
            _show(installation.person(staff, staff, accounts.STAFF))
        console.print(
            f"\nPortal: [bold]{installation.portal_url}[/bold]   data: {folder}   Ctrl-C stops everything"
        )
        wait_for_interrupt()


def wait_for_interrupt() -> None:
    """Return at SIGINT or SIGTERM."""
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()
    console.print("\nStopping every part ...")


def _show(login: Login) -> None:
    console.print(f"{login.email}   password: {login.password}")
