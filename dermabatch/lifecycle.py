"""The states of everything that has a life, and the moves allowed between them. Pure.

The database repeats the same rules as constraints (see `dermabatch.schema`); tests hold the two together.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class BatchState(StrEnum):
    """What intake has done with an upload. Whether its images are *done* is counted, never stored."""

    RECEIVING = "receiving"  # files are still coming in
    ACCEPTED = "accepted"  # every file has its row, every good image its bytes
    CANCELLED = "cancelled"  # a person stopped it; what was classified before stays
    ABANDONED = "abandoned"  # the upload broke off and was never answered with 202


class PackState(StrEnum):
    """Whether the bytes of a pack can be relied upon."""

    WRITING = "writing"  # the object may or may not exist
    STORED = "stored"  # the object exists; its checksum was verified by the storage
    ABANDONED = "abandoned"  # given up before it was stored; the object is deleted, if there is one


class ChunkState(StrEnum):
    """Who holds the images of one pack that are to be worked on together."""

    READY = "ready"  # anyone may claim it, once `not_before` has passed
    RUNNING = "running"  # held until `lease_until` by the worker that knows `lease_no`
    DONE = "done"  # every image has its outcome
    CANCELLED = "cancelled"  # nobody may claim or record it


class ImageState(StrEnum):
    """The outcome of one received file. Exactly one at any moment, so that the counts add up."""

    PENDING = "pending"  # stored, waiting for or with a worker
    CLASSIFIED = "classified"  # has a prediction
    UNASSESSABLE = "unassessable"  # has a prediction that must not be relied upon; a person looks
    REJECTED = "rejected"  # not an image we can judge; the reason says why
    FAILED = "failed"  # stopped its quarantine process three times; may be retried
    CANCELLED = "cancelled"  # its batch was cancelled before it was classified


class ModelState(StrEnum):
    """What a published model may do."""

    CANDIDATE = "candidate"  # verified and stored, never served
    ACTIVE = "active"  # serves every new claim; there is at most one
    RETIRED = "retired"  # served once; may be returned to
    REJECTED = "rejected"  # failed its gate; nobody can activate it, whatever their role


class Queue(StrEnum):
    """Which work goes first. Staff wait for `interactive`; the night run does not."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


class ScreeningState(StrEnum):
    """How far the screening of a source has come."""

    LISTING = "listing"  # its files are listed and taken in
    CLASSIFYING = "classifying"  # all that it was to take in is in; workers have some of it still
    COMPLETED = "completed"  # every file listed and every image taken in has its outcome
    STOPPED = "stopped"  # by a person or by a fault; the next start goes on


class ScreenedState(StrEnum):
    """What a screening has done with one file of a source."""

    LISTED = "listed"  # seen and not settled; found again by the next start if this one is killed
    TAKEN_IN = "taken_in"  # stored as an image, which has its own state
    SKIPPED = "skipped"  # its content was taken in before, or it is no file that anybody means
    RESCORED = (
        "rescored"  # its content was taken in before and seen by other models only: this one looks, too
    )
    REFUSED = "refused"  # not an image we can judge; its row says why
    UNREADABLE = "unreadable"  # could not be read; tried again by the next screening


Moves = Mapping[str, frozenset[str]]

BATCH_MOVES: Final[Moves] = {
    BatchState.RECEIVING: frozenset({BatchState.ACCEPTED, BatchState.ABANDONED}),
    BatchState.ACCEPTED: frozenset({BatchState.CANCELLED}),
    BatchState.CANCELLED: frozenset(),
    BatchState.ABANDONED: frozenset(),
}

PACK_MOVES: Final[Moves] = {
    PackState.WRITING: frozenset({PackState.STORED, PackState.ABANDONED}),
    PackState.STORED: frozenset(),
    PackState.ABANDONED: frozenset(),
}

CHUNK_MOVES: Final[Moves] = {
    ChunkState.READY: frozenset({ChunkState.RUNNING, ChunkState.CANCELLED}),
    # Back to ready: the worker gave it up, or its lease lapsed.
    ChunkState.RUNNING: frozenset({ChunkState.DONE, ChunkState.READY, ChunkState.CANCELLED}),
    ChunkState.DONE: frozenset(),
    ChunkState.CANCELLED: frozenset(),
}

IMAGE_MOVES: Final[Moves] = {
    ImageState.PENDING: frozenset(
        {
            ImageState.CLASSIFIED,
            ImageState.UNASSESSABLE,
            ImageState.REJECTED,
            ImageState.FAILED,
            ImageState.CANCELLED,
        }
    ),
    ImageState.CLASSIFIED: frozenset(),
    ImageState.UNASSESSABLE: frozenset(),
    ImageState.REJECTED: frozenset(),
    ImageState.FAILED: frozenset({ImageState.PENDING}),  # a retry
    ImageState.CANCELLED: frozenset(),
}

MODEL_MOVES: Final[Moves] = {
    ModelState.CANDIDATE: frozenset({ModelState.ACTIVE, ModelState.REJECTED}),
    ModelState.ACTIVE: frozenset({ModelState.RETIRED}),
    ModelState.RETIRED: frozenset({ModelState.ACTIVE}),
    ModelState.REJECTED: frozenset({ModelState.CANDIDATE}),  # the gate on other held-out data lets it pass
}

SCREENING_MOVES: Final[Moves] = {
    ScreeningState.LISTING: frozenset({ScreeningState.CLASSIFYING, ScreeningState.STOPPED}),
    ScreeningState.CLASSIFYING: frozenset(
        {ScreeningState.COMPLETED, ScreeningState.STOPPED, ScreeningState.LISTING}
    ),
    ScreeningState.COMPLETED: frozenset(),
    ScreeningState.STOPPED: frozenset({ScreeningState.LISTING}),
}

_SETTLED: Final = frozenset(ScreenedState) - {ScreenedState.LISTED}
SCREENED_MOVES: Final[Moves] = {
    ScreenedState.LISTED: _SETTLED,
    **dict.fromkeys(_SETTLED, frozenset({ScreenedState.LISTED})),  # by a later screening
}

PREDICTED_STATES: Final = (ImageState.CLASSIFIED, ImageState.UNASSESSABLE)
"""States of an image that has a prediction."""


def may_move(moves: Moves, *, old: str, new: str) -> bool:
    """Whether the life of a thing allows this step."""
    return new in moves[old]
