"""The audit trail: append, chain, sign, verify, search, export.

An event goes into `audit_pending` with the deed it tells of (`append`). The one chainer moves it into
`audit_events`, numbered without gaps and hashed over its predecessor (`chainer`), and once a minute signs the
end of the chain into S3, out of reach of whoever administers the database (`checkpoints`). `verify` finds
what was changed.
"""

from dermabatch.audit.append import append
from dermabatch.audit.events import JSON, Action, Actor, ActorKind, Details, Event, Outcome

__all__ = ["JSON", "Action", "Actor", "ActorKind", "Details", "Event", "Outcome", "append"]
