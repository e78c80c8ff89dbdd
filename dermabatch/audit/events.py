"""What the trail records: who did what to which thing, from where, and how it ended.

Never a patient number, a file name or image content: patients appear as the UUID of their subject, files as
the UUID of their image, so that erasing a patient's key erases the person from the trail while the chain
stands.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias
from uuid import UUID

JSON: TypeAlias = "str | int | float | bool | Sequence[JSON] | Mapping[str, JSON] | None"
Details: TypeAlias = Mapping[str, JSON]


class Action(StrEnum):
    """What was done. Values are stored for ever: add, never rename."""

    SESSION_SIGN_IN = "session.sign_in"
    SESSION_SIGN_OUT = "session.sign_out"
    SESSION_REFUSED = "session.refused"
    SESSION_HALF_WAY = "session.half_way"  # the password was right, the second factor is missing
    SESSION_ENDED = "session.ended"  # from elsewhere: another browser, an administrator
    SECOND_FACTOR_PREPARED = "second_factor.prepared"
    SECOND_FACTOR_ENROLLED = "second_factor.enrolled"
    SECOND_FACTOR_RECOVERY_CODES = "second_factor.recovery_codes"
    SECOND_FACTOR_REMOVED = "second_factor.removed"

    BATCH_UPLOAD = "batch.upload"
    PACK_STORED = "pack.stored"  # a part of an upload: up to 64 images
    BATCH_VIEW = "batch.view"
    BATCH_CANCEL = "batch.cancel"
    BATCH_RETRY = "batch.retry"
    BATCH_EXPORT = "batch.export"
    BATCHES_LIST = "batches.list"
    IMAGE_VIEW = "image.view"
    CHUNK_CLASSIFIED = "chunk.classified"
    SUBJECT_ERASED = "subject.erased"

    SCREENING_STARTED = "screening.started"  # also anew, after a stop
    SCREENING_ENDED = "screening.ended"
    SCREENING_STOPPED = "screening.stopped"

    MODEL_PUBLISHED = "model.published"
    MODEL_JUDGED = "model.judged"
    MODEL_ACTIVATED = "model.activated"
    MODEL_ROLLED_BACK = "model.rolled_back"
    MODEL_REFUSED = "model.refused"
    MODEL_VIEW = "model.view"

    AUDIT_SEARCH = "audit.search"
    AUDIT_VIEW = "audit.view"
    AUDIT_EXPORT = "audit.export"
    AUDIT_VERIFY = "audit.verify"
    AUDIT_KEY_REPLACED = "audit.key_replaced"
    AUDIT_RESTORE_ACCEPTED = "audit.restore_accepted"

    DEPARTMENT_CREATED = "department.created"
    USER_VIEW = "user.view"
    USER_CREATED = "user.created"
    USER_CHANGED = "user.changed"
    TOKEN_CREATED = "token.created"  # noqa: S105 - a name, not a secret
    TOKEN_REVOKED = "token.revoked"  # noqa: S105
    ACCESS_REFUSED = "access.refused"  # the role or the token does not allow it
    REQUEST_FAILED = "request.failed"  # came to nothing: not found, not understood, in conflict, broken off


class Outcome(StrEnum):
    """How it ended."""

    SUCCESS = "success"
    REFUSED = "refused"  # the rules forbade it
    FAILED = "failed"  # it was allowed and did not work


class ActorKind(StrEnum):
    """Who may stand behind an event."""

    PERSON = "person"  # signed in, in a browser or through a token
    SERVICE = "service"  # a program on its own behalf: worker, scheduler, installer, command line
    ANONYMOUS = "anonymous"  # nobody known: a failed sign-in


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and from where.

    `id` is the user's, `source` an IP address or the name of a program, `request_id` what ties the events of
    one HTTP request together.
    """

    id: UUID | None
    kind: ActorKind
    source: str
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the trail, before it has its time and its place in the chain.

    A list view is one event whose details hold the ids shown. `department_id` is the department whose data
    was touched; without one only auditors of the whole hospital see the event.
    """

    action: Action
    outcome: Outcome
    # Keyword-only from here: three optional texts in a row invite mistakes.
    actor: Actor = field(kw_only=True)
    department_id: UUID | None = field(default=None, kw_only=True)
    object_type: str | None = field(default=None, kw_only=True)
    object_id: str | None = field(default=None, kw_only=True)
    details: Details = field(default_factory=dict, kw_only=True)
