"""`dermabatch audit accept-restore`: let the trail go on after a backup was restored."""

from typing import Final

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cli.acting import AS_JSON, acting_user, print_json
from cli.auditing import opened_by, progress_bar
from dermabatch import audit as trail
from dermabatch.audit import Restored
from dermabatch.errors import ConfigurationError
from dermabatch.settings import Settings

_ADMINISTRATOR: Final = acting_user(required=True, help="The administrator who decides.")


@click.command("accept-restore")
@click.option(
    "--reason", required=True, help="Why the backup was restored. Kept for ever: name no patient here."
)
@click.option("--yes", is_flag=True, help="Do not ask again.")
@_ADMINISTRATOR
@AS_JSON
def accept_restore(reason: str, yes: bool, email: str, as_json: bool) -> None:
    """Accept that a restored backup has lost signed events, so that the scheduler signs the trail again.

    The loss, your id and the reason are signed, and every verification shows them from then on. Needs
    DERMABATCH_SIGNING_KEY. Whoever rewrote the end of the trail would ask for the same: accept only what you restored.
    """
    with opened_by(email) as auditor:
        signing_key = _signing_key(auditor.settings)
        with progress_bar() as progress:
            restored = trail.find_restored(
                auditor.session, auditor.store, auditor.settings.verify_key, progress=progress
            )
        if not yes:
            click.confirm(_question(restored), abort=True, err=True)
        gap = trail.accept_restored(
            auditor.session,
            auditor.store,
            restored,
            signing_key=signing_key,
            actor=auditor.actor,
            reason=reason,
        )
    if as_json:
        print_json({"first_seq": gap.first_seq, "last_seq": gap.last_seq, "signed_at": gap.signed_at})
    else:
        click.echo(f"Gap: {gap}")


def _question(restored: Restored) -> str:
    lost = restored.lost
    return (
        f"Events {restored.kept.seq + 1} to {lost.link.seq} were signed until {lost.signed_at:%Y-%m-%d %H:%M:%S} UTC."
        f" The database now ends at {restored.last.seq}, and of those nothing is proven to be what was signed."
        " Did you restore a backup, and do you accept this loss for good?"
    )


def _signing_key(settings: Settings) -> bytes:
    key = settings.signing_key
    if key is None:
        raise ConfigurationError("Accepting a restore is signed: set DERMABATCH_SIGNING_KEY.")
    if Ed25519PrivateKey.from_private_bytes(key).public_key().public_bytes_raw() != settings.verify_key:
        raise ConfigurationError(
            "DERMABATCH_VERIFY_KEY is not the public key of DERMABATCH_SIGNING_KEY: set both of one pair."
        )
    return key
