"""The words that people read in place of stored values."""

from collections.abc import Mapping
from typing import Final

from dermabatch.accounts import ADMINISTRATOR, STAFF, Scope
from dermabatch.audit import Action, Outcome
from dermabatch.lifecycle import ImageState, Queue

STATE_WORDS: Final = {
    ImageState.CLASSIFIED: "classified",
    ImageState.UNASSESSABLE: "cannot be assessed",
    ImageState.REJECTED: "left out",
    ImageState.FAILED: "failed",
    ImageState.CANCELLED: "cancelled",
    ImageState.PENDING: "waiting",
}
ROLE_WORDS: Final = {STAFF: "Staff", ADMINISTRATOR: "Administrator"}
QUEUE_WORDS: Final = {Queue.INTERACTIVE: "Uploads", Queue.BULK: "Night runs"}
SCOPE_WORDS: Final = {
    Scope.BATCHES_WRITE: "hand in, cancel and retry batches",
    Scope.BATCHES_READ: "read batches and results",
    Scope.MODELS_READ: "read models",
    Scope.MODELS_WRITE: "activate models",
    Scope.AUDIT_READ: "read the audit trail",
}
OUTCOME_WORDS: Final = {Outcome.SUCCESS: "done", Outcome.REFUSED: "refused", Outcome.FAILED: "failed"}
ACTION_WORDS: Final[Mapping[str, str]] = {
    Action.SESSION_SIGN_IN: "Signed in",
    Action.SESSION_SIGN_OUT: "Signed out",
    Action.SESSION_REFUSED: "Sign-in refused",
    Action.SESSION_HALF_WAY: "Gave the right password",
    Action.SESSION_ENDED: "Ended sessions",
    Action.SECOND_FACTOR_PREPARED: "Prepared a second factor",
    Action.SECOND_FACTOR_ENROLLED: "Set up a second factor",
    Action.SECOND_FACTOR_RECOVERY_CODES: "Made recovery codes",
    Action.SECOND_FACTOR_REMOVED: "Removed a second factor",
    Action.BATCH_UPLOAD: "Handed in a batch",
    Action.PACK_STORED: "Stored images of an upload",
    Action.BATCH_VIEW: "Looked at results",
    Action.BATCH_CANCEL: "Cancelled a batch",
    Action.BATCH_RETRY: "Tried failed images again",
    Action.BATCH_EXPORT: "Exported a batch",
    Action.BATCHES_LIST: "Listed the batches",
    Action.IMAGE_VIEW: "Looked at an image",
    Action.CHUNK_CLASSIFIED: "Classified images",
    Action.SUBJECT_ERASED: "Erased a patient",
    Action.SCREENING_STARTED: "Started a screening",
    Action.SCREENING_ENDED: "Ended a screening",
    Action.SCREENING_STOPPED: "Stopped a screening",
    Action.MODEL_PUBLISHED: "Published a model",
    Action.MODEL_JUDGED: "Put a model through its gate",
    Action.MODEL_ACTIVATED: "Activated a model",
    Action.MODEL_ROLLED_BACK: "Returned to a model",
    Action.MODEL_REFUSED: "Refused a model",
    Action.MODEL_VIEW: "Looked at models",
    Action.AUDIT_SEARCH: "Searched the trail",
    Action.AUDIT_VIEW: "Looked at an event",
    Action.AUDIT_EXPORT: "Exported the trail",
    Action.AUDIT_VERIFY: "Verified the chain",
    Action.AUDIT_KEY_REPLACED: "Replaced the signing key",
    Action.AUDIT_RESTORE_ACCEPTED: "Accepted a restore",
    Action.DEPARTMENT_CREATED: "Added a department",
    Action.USER_VIEW: "Looked at users",
    Action.USER_CREATED: "Added a user",
    Action.USER_CHANGED: "Changed a user",
    Action.TOKEN_CREATED: "Made a token",
    Action.TOKEN_REVOKED: "Revoked a token",
    Action.ACCESS_REFUSED: "Access refused",
    Action.REQUEST_FAILED: "Asked in vain",
}


def action_name(action: str) -> str:
    """What was done, in words; the stored value where a trail is older or newer than this program."""
    return ACTION_WORDS.get(action, action)
