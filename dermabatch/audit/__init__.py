"""The audit trail: append, chain, sign, verify, search, export.

An event goes into `audit_pending` with the deed it tells of (`append`). The one chainer moves it into
`audit_events`, numbered without gaps and hashed over its predecessor (`chainer`), and once a minute the end
of the chain is signed into S3 (`signer`), out of reach of whoever administers the database. `verify` finds
what was changed. A new signing key, and a restored backup that an administrator accepts (`restoring`), begin a
chapter of the trail (`chapters`).
"""

from dermabatch.audit.appending import append, tell_of_commits
from dermabatch.audit.backlog import Backlog, BacklogWatch
from dermabatch.audit.chainer import Chainer
from dermabatch.audit.chapters import Gap, key_id
from dermabatch.audit.events import JSON, Action, Actor, ActorKind, Details, Event, Outcome
from dermabatch.audit.exporting import export, verify_export
from dermabatch.audit.restoring import Restored, accept_restored, find_restored
from dermabatch.audit.searching import EVERYTHING, Filters, event_at, search
from dermabatch.audit.tables import AuditCheckpoint, AuditEvent
from dermabatch.audit.verification import Verification, verify

__all__ = [
    "EVERYTHING",
    "JSON",
    "Action",
    "Actor",
    "ActorKind",
    "AuditCheckpoint",
    "AuditEvent",
    "Backlog",
    "BacklogWatch",
    "Chainer",
    "Details",
    "Event",
    "Filters",
    "Gap",
    "Outcome",
    "Restored",
    "Verification",
    "accept_restored",
    "append",
    "event_at",
    "export",
    "find_restored",
    "key_id",
    "search",
    "tell_of_commits",
    "verify",
    "verify_export",
]
