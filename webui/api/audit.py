"""The audit trail: search it, verify it."""

import json
from typing import Any

from dermabatch.audit import Action, AuditEvent, Filters, Outcome, Verification, search, verify
from webui.api import schemas
from webui.api.access import auditor_session, note, resource
from webui.portal import portal

blueprint = resource("Audit", "/audit", "Who did what, and its proof")


@blueprint.get("/events")
@blueprint.arguments(schemas.AuditQuery, location="query", as_kwargs=True)
@blueprint.response(200, schemas.AuditPage)
def index(cursor: int | None, limit: int, **filters: Any) -> dict[str, Any]:
    """Events of every department, newest first."""
    with auditor_session() as session:
        found = search(session, Filters(**filters), after=cursor, limit=limit + 1)
        shown = found[:limit]
        asked = sorted(name for name, value in filters.items() if value is not None)
        note(session, Action.AUDIT_SEARCH, details={"filters": asked, "events": len(shown)})
    return {
        "events": [_described(event) for event in shown],
        "next_cursor": shown[-1].seq if len(found) > limit else None,
    }


@blueprint.get("/verification")
@blueprint.arguments(schemas.VerificationQuery, location="query", as_kwargs=True)
@blueprint.response(200, schemas.Verification)
def verification(full: bool) -> Verification:
    """Check the chain against its hashes and its signed checkpoints."""
    with auditor_session() as session:
        settings = portal().settings
        verdict = verify(
            session,
            portal().store,
            settings.verify_key,
            full=full,
        )
        note(
            session,
            Action.AUDIT_VERIFY,
            Outcome.SUCCESS if verdict.ok else Outcome.FAILED,
            details={"ok": verdict.ok, "through_seq": verdict.through_seq, "full": full},
        )
    return verdict


def _described(event: AuditEvent) -> dict[str, Any]:
    return {
        **{
            name: getattr(event, name)
            for name in schemas.AuditEvent().fields
            if name not in ("details", "hash")
        },
        "details": json.loads(event.details),
        "hash": event.hash.hex(),
    }
