"""The only writer of chunk and image state after intake.

Locks are taken in the order batch, chunk, images, so that no two of these moves can wait for each other
in a circle.
"""

from dermabatch.ledger.claiming import Claim, ClaimedImage, claim, let_lapse, release, renew
from dermabatch.ledger.counting import BatchCounts, Conservation, conservation, counts, counts_of
from dermabatch.ledger.recording import (
    MAX_STOPS,
    Failed,
    Outcome,
    Predicted,
    Refused,
    note_late_write,
    note_stop,
    record,
)
from dermabatch.ledger.stopping import cancel_batch, retry_batch, stop_work
from dermabatch.ledger.sweeping import return_lapsed, waiting_chunks

__all__ = [
    "MAX_STOPS",
    "BatchCounts",
    "Claim",
    "ClaimedImage",
    "Conservation",
    "Failed",
    "Outcome",
    "Predicted",
    "Refused",
    "cancel_batch",
    "claim",
    "conservation",
    "counts",
    "counts_of",
    "let_lapse",
    "note_late_write",
    "note_stop",
    "record",
    "release",
    "renew",
    "retry_batch",
    "return_lapsed",
    "stop_work",
    "waiting_chunks",
]
