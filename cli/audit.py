"""`dermabatch audit`: verify, search and export the audit trail, verify an export anywhere, and what keeps it going."""

import base64
import binascii
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sqlalchemy.orm import Session

from cli.acting import AS_JSON, acting_user, print_json
from cli.audit_bench import bench
from cli.audit_keys import rotate_key
from cli.audit_restore import accept_restore
from cli.auditing import opened_by, progress_bar
from dermabatch import accounts
from dermabatch import audit as trail
from dermabatch.audit import Action, AuditEvent, Filters, Outcome, Verification
from dermabatch.errors import InvalidRequest

_ACTING: Final = acting_user(required=False, help="The administrator who asks, for the audit trail.")
_TIME: Final = click.DateTime(("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"))


@click.group()
def audit() -> None:
    """Verify, search and export the audit trail. Each of these is itself an event."""


audit.add_command(accept_restore)
audit.add_command(rotate_key)
audit.add_command(bench)


@audit.command()
@click.option(
    "--full", is_flag=True, help="Walk everything again, not only what is new since the newest checkpoint."
)
@_ACTING
@AS_JSON
def verify(full: bool, email: str | None, as_json: bool) -> None:
    """Prove that no event was changed, inserted, moved or taken away.

    Exit code 0: the trail is whole; 1: it is not, and the first event that does not fit is named.
    """
    with opened_by(email) as auditor, progress_bar() as progress:
        verification = trail.verify(
            auditor.session,
            auditor.store,
            auditor.settings.verify_key,
            full=full,
            progress=progress,
        )
        outcome = Outcome.SUCCESS if verification.ok else Outcome.FAILED
        auditor.note(Action.AUDIT_VERIFY, outcome, full=full, through_seq=verification.through_seq)
    _report(verification, as_json)


@audit.command()
@click.option("--actor", help="E-mail address or id of the user.")
@click.option("--action", type=click.Choice([action.value for action in Action]), help="What was done.")
@click.option("--outcome", type=click.Choice([outcome.value for outcome in Outcome]), help="How it ended.")
@click.option("--object", "object_id", help="Id of the batch, image, model, ... it was done to.")
@click.option("--department", help="Name of the department whose data it touched.")
@click.option("--since", type=_TIME, help="From this time on, UTC.")
@click.option("--until", type=_TIME, help="Before this time, UTC.")
@click.option("--after", type=click.IntRange(min=1), help="Go on after the last event of the page before.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Most events shown."
)
@_ACTING
@AS_JSON
def search(
    actor: str | None,
    action: str | None,
    outcome: str | None,
    object_id: str | None,
    department: str | None,
    since: datetime | None,
    until: datetime | None,
    after: int | None,
    limit: int,
    email: str | None,
    as_json: bool,
) -> None:
    """Show events, newest first."""
    with opened_by(email) as auditor:
        session = auditor.session
        filters = Filters(
            actor_id=_user_id(session, actor),
            action=Action(action) if action else None,
            outcome=Outcome(outcome) if outcome else None,
            object_id=object_id,
            department_id=accounts.find_department(session, department).id if department else None,
            since=since and since.replace(tzinfo=UTC),
            until=until and until.replace(tzinfo=UTC),
        )
        events = [_as_dict(event) for event in trail.search(session, filters, after=after, limit=limit)]
        # Not what was asked for: somebody may have typed the number of a patient.
        asked = sorted(name for name, value in asdict(filters).items() if value is not None)
        auditor.note(Action.AUDIT_SEARCH, filters=asked, seqs=[event["seq"] for event in events])
    if as_json:
        last = events[-1]["seq"] if len(events) == limit else None
        print_json({"events": events, "next_after": last})
    else:
        Console().print(_table(events))


@audit.command()
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="File to write.")
@_ACTING
@AS_JSON
def export(out: Path, email: str | None, as_json: bool) -> None:
    """Write the trail up to its newest checkpoint to a file that `verify-export` can prove without this system."""
    with opened_by(email) as auditor, progress_bar() as progress:
        lines = trail.export(auditor.session, auditor.store, auditor.settings.verify_key)
        events = _write(out, lines, progress)
        auditor.note(Action.AUDIT_EXPORT, events=events)
    written = {"file": str(out), "events": events, "key": trail.key_id(auditor.settings.verify_key)}
    if as_json:
        print_json(written)
    else:
        click.echo(
            "{events} events written to {file}, to be verified with the public key {key}".format(**written)
        )


@audit.command("verify-export")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--public-key",
    required=True,
    help="DERMABATCH_VERIFY_KEY of the installation: base64, or a file that holds it.",
)
@AS_JSON
def verify_export(file: Path, public_key: str, as_json: bool) -> None:
    """Prove an exported trail with nothing but the installation's present public key, on any machine."""
    key = _public_key(public_key)
    with file.open("rb") as lines, progress_bar() as progress:
        verification = trail.verify_export(lines, key, progress=progress)
    _report(verification, as_json)


def _report(verification: Verification, as_json: bool) -> None:
    if as_json:
        print_json(asdict(verification))
    elif verification.ok:
        click.echo(
            f"The trail is whole: {verification.events:,} events walked to number {verification.through_seq},"
            f" {verification.checkpoints} checkpoints agree, signed to number {verification.signed_through}"
            f"{_signed_at(verification)} ({verification.seconds:.1f} s)"
        )
    else:
        click.echo(f"The trail is NOT whole: {verification.problem}")
    if not as_json:
        for gap in verification.gaps:
            click.echo(f"Gap: {gap}")
    sys.exit(0 if verification.ok else 1)


def _signed_at(verification: Verification) -> str:
    return f" at {verification.signed_at:%Y-%m-%d %H:%M:%S} UTC" if verification.signed_at else ""


def _user_id(session: Session, text: str | None) -> UUID | None:
    if text is None:
        return None
    try:
        return UUID(text)
    except ValueError:
        return accounts.find_user(session, text).id


def _as_dict(event: AuditEvent) -> dict[str, Any]:
    return {
        "seq": event.seq,
        "recorded_at": event.recorded_at.isoformat(),
        "action": event.action,
        "outcome": event.outcome,
        "actor_id": event.actor_id and str(event.actor_id),
        "actor_kind": event.actor_kind,
        "source": event.source,
        "request_id": event.request_id,
        "department_id": event.department_id and str(event.department_id),
        "object_type": event.object_type,
        "object_id": event.object_id,
        "details": json.loads(event.details),
    }


def _table(events: list[dict[str, Any]]) -> Table:
    table = Table("seq", "time", "action", "outcome", "who", "from", "what", box=None)
    for event in events:
        what = " ".join(filter(None, (event["object_type"], event["object_id"])))
        who = event["actor_id"] or event["actor_kind"]
        row = (event["recorded_at"], event["action"], event["outcome"], who, event["source"], what)
        table.add_row(str(event["seq"]), *map(escape, row))
    return table


def _write(out: Path, lines: Iterator[bytes], progress: Callable[[int], None]) -> int:
    """Writes a new file whole or not at all; returns the number of its last event."""
    line = b""
    try:
        with out.open("xb") as file:
            for number, line in enumerate(lines):
                file.write(line)
                if number % 8192 == 0:
                    progress(number)
    except FileExistsError:
        raise InvalidRequest(f"Expected a new file for --out. {out} exists already.") from None
    except BaseException:
        out.unlink()
        raise
    return int(json.loads(line)["seq"])


def _public_key(text: str) -> bytes:
    path = Path(text)
    try:
        key = base64.b64decode(path.read_text().strip() if path.is_file() else text, validate=True)
    except (binascii.Error, ValueError, OSError):
        key = b""
    if len(key) != 32:
        raise InvalidRequest("Expected --public-key to be 32 bytes as base64, or a file that holds them so.")
    return key
