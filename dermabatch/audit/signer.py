"""Signs the end of the chain into the storage, but only a chain that it has walked itself."""

import threading
from collections.abc import Sequence
from datetime import UTC, datetime

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError

from dermabatch.audit import checkpoints
from dermabatch.audit.chain import GENESIS
from dermabatch.audit.checkpoints import Checkpoint
from dermabatch.audit.tables import AuditCheckpoint
from dermabatch.audit.verification import walk_since
from dermabatch.database import Sessions
from dermabatch.errors import AuditChainBroken, CheckpointRefused, ObjectExists, ServiceUnavailable
from dermabatch.objects import ObjectStore

_RETRY_SECONDS = 5.0

_log = structlog.get_logger(__name__)


class Signer:
    """Extends the row of checkpoints: each vouches for the events since the one before.

    A chain that does not agree with the newest checkpoint is never signed over. Otherwise whoever rewrote it,
    or restored an old copy, would find his version confirmed a minute later.

    Args:
        sessions: of the role dermabatch_chainer.
        key: the installation's.
        retired_keys: public keys that signed earlier checkpoints.
    """

    def __init__(
        self,
        sessions: Sessions,
        store: ObjectStore,
        key: Ed25519PrivateKey,
        *,
        retired_keys: Sequence[bytes] = (),
    ) -> None:
        self._sessions = sessions
        self._store = store
        self._key = key
        self._trusted = checkpoints.trust(key.public_key().public_bytes_raw(), *retired_keys)
        self._last: Checkpoint | None = None

    def run(self, stop: threading.Event, every_seconds: float) -> None:
        """Sign soon, then regularly, until told to stop. What fails is logged and tried again."""
        pause = min(_RETRY_SECONDS, every_seconds)
        while not stop.wait(pause):
            try:
                self.sign()
                pause = every_seconds
            except (AuditChainBroken, CheckpointRefused) as error:
                _log.error("audit.not_signed", problem=str(error))
            except (DBAPIError, ServiceUnavailable) as error:
                _log.warning("audit.signing_failed", error=str(error))
                pause = min(_RETRY_SECONDS, every_seconds)

    def sign(self) -> Checkpoint | None:
        """Walk the chain from the newest checkpoint and sign its end, if it has grown.

        Raises:
            AuditChainBroken: the chain does not hold, or is not the one signed before.
            CheckpointRefused: the newest checkpoint in the storage is not ours.
        """
        previous = self._last = self._last or checkpoints.newest(self._store, self._trusted)
        with self._sessions.begin(auditor=True) as session:
            walked = walk_since(session, previous)
        if walked.problem:
            raise AuditChainBroken(walked.problem)
        if walked.last == (previous.link if previous else GENESIS):
            return None
        self._last = self._put(checkpoints.sign(walked.last, signed_at=datetime.now(UTC), key=self._key))
        self._note(self._last)
        return self._last

    def _put(self, checkpoint: Checkpoint) -> Checkpoint:
        seq = checkpoint.link.seq
        try:
            self._store.put(checkpoints.object_key(seq), checkpoint.to_json().encode(), if_absent=True)
        except ObjectExists:
            # Another signer was faster, or this one lost the answer to its own write.
            existing = checkpoints.load(self._store, seq, self._trusted)
            if existing.link != checkpoint.link:
                raise AuditChainBroken(f"checkpoint {seq} in the storage signed another chain") from None
            return existing
        return checkpoint

    def _note(self, checkpoint: Checkpoint) -> None:
        row = insert(AuditCheckpoint).values(
            seq=checkpoint.link.seq,
            hash=checkpoint.link.hash,
            signed_at=checkpoint.signed_at,
            key_id=checkpoint.key_id,
            signature=checkpoint.signature,
        )
        with self._sessions.begin() as session:
            session.execute(row.on_conflict_do_nothing())
