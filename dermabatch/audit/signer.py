"""Signs the end of the chain into the storage, but only a chain that it has walked itself."""

import threading
from collections.abc import Sequence
from datetime import UTC, datetime

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from dermabatch.audit import chapters, checkpoints, evidence
from dermabatch.audit.appending import append
from dermabatch.audit.chain import GENESIS, Link
from dermabatch.audit.chapters import Chapter, key_id
from dermabatch.audit.checkpoints import Checkpoint
from dermabatch.audit.events import Action, Actor, ActorKind, Event, Outcome
from dermabatch.audit.tables import AuditCheckpoint
from dermabatch.audit.verification import walk_since
from dermabatch.database import Sessions
from dermabatch.errors import AuditChainBroken, CheckpointRefused, ObjectExists, ServiceUnavailable
from dermabatch.objects import ObjectStore

_RETRY_SECONDS = 5.0
_ACTOR = Actor(None, ActorKind.SERVICE, "audit signer")

_log = structlog.get_logger(__name__)


class Signer:
    """Extends the row of checkpoints: each vouches for the events since the one before.

    A chain that does not agree with the newest checkpoint is never signed over. Otherwise whoever rewrote it,
    or restored an old copy, would find his version confirmed a minute later. What is newest the storage is asked
    each time: another signer may have been faster, or an administrator may have accepted a restore.

    Args:
        sessions: of the role dermabatch_chainer.
        key: the installation's. Where it is new, the signer opens a chapter with it.
        retired_keys: public keys that it has replaced.
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
        self._public_key = key.public_key().public_bytes_raw()
        self._trusted = (self._public_key, *retired_keys)

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
        with self._sessions.begin(auditor=True) as session:
            known = evidence.newest(session, self._store, trusted=self._trusted)
            walked = walk_since(session, known.newest)
            if walked.problem:
                raise AuditChainBroken(walked.problem)
            signed = known.newest.link if known.newest else GENESIS
            if walked.last == signed == GENESIS:
                return None
            chapter = self._chapter(session, known.chapters, signed)
        if walked.last == signed:
            return None
        now = datetime.now(UTC)
        checkpoint = self._put(checkpoints.sign(chapter.number, walked.last, signed_at=now, key=self._key))
        self._note(checkpoint)
        return checkpoint

    def _chapter(self, session: Session, known: Sequence[Chapter], signed: Link) -> Chapter:
        """The chapter of this signer's key; opened, where the key is new."""
        if known and known[-1].public_key == self._public_key:
            return known[-1]
        opened = chapters.opening(
            known, opened_at=datetime.now(UTC), key=self._key, kept=signed, resumed=signed
        )
        try:
            chapters.put(self._store, opened)
        except ObjectExists:
            # Another signer was faster, or this one lost the answer to its own write.
            return self._chapter(session, chapters.load(self._store, trusted=self._trusted), signed)
        if known:
            keys = {"key": key_id(self._public_key), "replaced": key_id(known[-1].public_key)}
            append(session, Event(Action.AUDIT_KEY_REPLACED, Outcome.SUCCESS, actor=_ACTOR, details=keys))
        return opened

    def _put(self, checkpoint: Checkpoint) -> Checkpoint:
        chapter, seq = checkpoint.chapter, checkpoint.link.seq
        try:
            self._store.put(
                checkpoints.object_key(chapter, seq), checkpoint.to_json().encode(), if_absent=True
            )
        except ObjectExists:
            # Another signer was faster, or this one lost the answer to its own write.
            existing = checkpoints.load(self._store, chapter, seq, self._key.public_key())
            if existing.link != checkpoint.link:
                raise AuditChainBroken(f"checkpoint {seq} in the storage signed another chain") from None
            return existing
        return checkpoint

    def _note(self, checkpoint: Checkpoint) -> None:
        row = insert(AuditCheckpoint).values(
            chapter=checkpoint.chapter,
            seq=checkpoint.link.seq,
            hash=checkpoint.link.hash,
            signed_at=checkpoint.signed_at,
            signature=checkpoint.signature,
        )
        with self._sessions.begin() as session:
            session.execute(row.on_conflict_do_nothing())
