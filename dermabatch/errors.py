"""The one tree of errors. The docstring of a class is its meaning; its message says what was expected and what came.

`code` is stable and goes to API answers, audit events and exit messages; the HTTP status is chosen once, at the
edge (`webui.errors`).
"""

from datetime import timedelta
from math import ceil
from typing import ClassVar


class DermabatchError(Exception):
    """Base of everything this system raises on purpose."""

    code: ClassVar[str] = "error"


class ConfigurationError(DermabatchError):
    """The installation is not set up rightly; the message names the setting and its remedy."""

    code = "configuration"


class ServiceUnavailable(DermabatchError):
    """A service this program needs does not answer. Trying again later is right."""

    code = "service_unavailable"


class ObjectStoreUnavailable(ServiceUnavailable):
    """The S3 storage refused, failed or did not answer in time."""

    code = "storage_unavailable"


class DatabaseUnavailable(ServiceUnavailable):
    """PostgreSQL is away, restarting or too busy. What was not committed has not happened."""

    code = "database_unavailable"


class ObjectMissing(DermabatchError):
    """No object has this key."""

    code = "object_missing"


class ObjectExists(DermabatchError):
    """A write that demanded a free key found one taken."""

    code = "object_exists"


class NotFound(DermabatchError):
    """No such thing, or not one that this person may see; the two are not told apart."""

    code = "not_found"


class NotAllowed(DermabatchError):
    """The person is known but has no right to this."""

    code = "not_allowed"


class InvalidRequest(DermabatchError):
    """What came cannot be carried out as it stands."""

    code = "invalid_request"


class SignInRefused(NotAllowed):
    """Address, password or code do not fit. The message never tells which of them, or whether there is an account."""

    code = "sign_in_refused"


class TryLater(DermabatchError):
    """The same request may succeed after `wait`; now it was not looked at."""

    code = "try_later"

    def __init__(self, reason: str, wait: timedelta) -> None:
        super().__init__(f"{reason} {ceil(wait.total_seconds()):,} s.")
        self.wait = wait


class TooManyGuesses(TryLater):
    """After wrong passwords or codes the next one is looked at only after `wait`."""

    code = "too_many_guesses"

    def __init__(self, wait: timedelta) -> None:
        super().__init__(
            "Too many wrong attempts came before this one, which was not looked at. The next one counts in",
            wait,
        )


class Crowded(TryLater):
    """More uploads wait for their turn than the portal has room for; nothing of this one was kept."""

    code = "crowded"

    def __init__(self, wait: timedelta) -> None:
        super().__init__(
            "Many uploads are being taken in, and nothing of this one was kept. Hand it in again in", wait
        )


class Conflict(DermabatchError):
    """The request does not fit the present state of the thing."""

    code = "conflict"


class KeyUsedBefore(InvalidRequest):
    """An idempotency key came again with other files: taking it for a repetition would lose them."""

    code = "key_used_before"


class EmptyBatch(InvalidRequest):
    """An upload held no file at all."""

    code = "empty_batch"


class QuotaExceeded(InvalidRequest):
    """An upload is larger than the installation allows."""

    code = "quota_exceeded"


class ImageRejected(DermabatchError):
    """This file is not an image we can judge. An outcome of one image, never of its batch.

    `reason` is a stable code from `dermabatch.imaging.rejection.RejectionReason`, the message is for a nurse.
    """

    code = "image_rejected"

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class PackDamaged(DermabatchError):
    """The bytes of a stored pack are gone, changed, or do not open with the installation's key. A person must look."""

    code = "pack_damaged"


class SealBroken(DermabatchError):
    """A ciphertext does not open with its key and its identity: it was changed, moved or cut."""

    code = "seal_broken"


class ErasedSubject(DermabatchError):
    """The key of this patient was destroyed; what it sealed cannot be read by anyone."""

    code = "erased"


class ArtifactRefused(DermabatchError):
    """A model artifact failed a check of its signature, digests or contents before any parser saw it."""

    code = "artifact_refused"


class LeaseLost(DermabatchError):
    """The chunk has been given to another worker, or was cancelled; nothing of ours may be recorded."""

    code = "lease_lost"


class DecoderDied(DermabatchError):
    """The sandboxed decoder was killed or stopped while it held the named image."""

    code = "decoder_died"


class AuditChainBroken(DermabatchError):
    """The audit trail does not hold, or is not the one that was signed. The message names the first bad event."""

    code = "audit_chain_broken"


class CheckpointRefused(DermabatchError):
    """A checkpoint of the audit trail is not one that this installation signed."""

    code = "checkpoint_refused"


class ConservationBroken(DermabatchError):
    """Files received and rows do not add up. A bug, never the sender's fault."""

    code = "conservation_broken"
