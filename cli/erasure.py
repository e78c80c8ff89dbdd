"""`dermabatch erase-patient | replay-erasures`: make what is stored of a patient unreadable, also after a restore."""

from typing import Final

import click
import sqlalchemy as sa

from cli.acting import AS_JSON, THE_COMMAND_LINE, acting_user, actor_of, connected, person, print_json
from dermabatch import accounts
from dermabatch.accounts import ADMINISTRATOR
from dermabatch.erasures import erase_subject, replay_erasures
from dermabatch.errors import NotFound
from dermabatch.objects import S3ObjectStore
from dermabatch.schema import Image
from dermabatch.subjects import KeyRing, find_subject

_ADMINISTRATOR: Final = acting_user(required=True, help="The administrator who decides.")


@click.command("erase-patient")
@click.option("--department", help="By name.  [default: that of the administrator]")
@click.option("--yes", is_flag=True, help="Do not ask again.")
@_ADMINISTRATOR
@AS_JSON
def erase_patient(department: str | None, yes: bool, email: str, as_json: bool) -> None:
    """Destroy the key of a patient: images, file names and the patient's number become unreadable for everybody.

    The number is asked for or read from standard input, and never an argument: other users of the machine see those.
    """
    number = click.prompt("Patient number", err=True)
    with connected() as (settings, sessions):
        keyring = KeyRing(settings.master_key)
        with sessions.begin() as session:
            administrator = person(session, email, ADMINISTRATOR)
            chosen = accounts.find_department(session, department) if department else administrator.department
        with sessions.begin(department=chosen.id) as session:
            subject = find_subject(session, keyring, chosen.id, number)
            if subject is None:
                raise NotFound(f"The department {chosen.name} knows no patient of this number.")
            images = session.scalar(sa.select(sa.func.count()).where(Image.subject_id == subject.id))
            if not yes:
                click.confirm(f"Erase this patient and {images} images for good?", abort=True, err=True)
            erase_subject(
                session,
                subject.id,
                keyring=keyring,
                store=S3ObjectStore.from_settings(settings),
                actor=actor_of(administrator),
            )
    if as_json:
        print_json({"subject": subject.id, "images": images})
    else:
        click.echo(f"Subject {subject.id} is erased; {images} images can no longer be read.")


@click.command("replay-erasures")
@AS_JSON
def replay(as_json: bool) -> None:
    """Erase again whom a restored backup brought back. The scheduler does the same every minute.

    After a restore run it before the portal starts: until then an erased patient can be read.
    """
    with connected() as (settings, sessions):
        erased = replay_erasures(
            sessions=sessions,
            store=S3ObjectStore.from_settings(settings),
            keyring=KeyRing(settings.master_key),
            actor=THE_COMMAND_LINE,
        )
    if as_json:
        print_json({"erased": erased})
    else:
        click.echo(f"{erased} patients were erased again.")
