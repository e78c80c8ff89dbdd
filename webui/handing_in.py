"""Taking a batch in, the same way from pages and API."""

from collections.abc import Iterable

from flask import request

from dermabatch.audit import Actor
from dermabatch.intake import Acceptance, IncomingFile, Metadata, Submitter, accept_upload
from dermabatch.lifecycle import Queue
from webui.portal import portal


def hand_in(
    files: Iterable[IncomingFile],
    *,
    metadata: Metadata | None,
    submitter: Submitter,
    actor: Actor,
    queue: Queue = Queue.INTERACTIVE,
    idempotency_key: str | None = None,
) -> Acceptance:
    """Take in what the present request brings once it is this upload's turn.

    Raises:
        Crowded: too many wait already.
        DermabatchError: as `accept_upload`.
    """
    collaborators = portal()
    _ = request.files  # has read all of the body: who sends slowly holds no turn
    with collaborators.upload_turns.take():
        return accept_upload(
            files=files,
            metadata=metadata,
            submitter=submitter,
            actor=actor,
            queue=queue,
            idempotency_key=idempotency_key,
            sessions=collaborators.sessions,
            store=collaborators.store,
            keyring=collaborators.keyring,
            wake_up=collaborators.wake_up,
            decoders=collaborators.decoders,
            settings=collaborators.settings,
        )
