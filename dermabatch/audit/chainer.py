"""The one writer of the chain: moves what waits in `audit_pending` into `audit_events`, in order, hashed."""

import threading
from collections.abc import Sequence

import sqlalchemy as sa
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from dermabatch.audit.backlog import BacklogWatch
from dermabatch.audit.chain import FIELDS, event_hash
from dermabatch.audit.reading import TEXT_FIELDS, tail
from dermabatch.audit.signer import Signer
from dermabatch.database import Sessions
from dermabatch.errors import ServiceUnavailable
from dermabatch.objects import ObjectStore

ROUND_SECONDS = 0.2
_RETRY_SECONDS = 1.0
BATCH_EVENTS = 2000

_log = structlog.get_logger(__name__)

# Any number works; it must only be ours. Held to the end of a transaction: two chainers take turns, none can
# fork the chain, and a lost connection leaves no lock behind.
CHAINER_LOCK = 7_261_532_912

_PENDING = sa.text(
    f"SELECT id, {TEXT_FIELDS} FROM audit_pending ORDER BY id LIMIT {BATCH_EVENTS}"  # noqa: S608 - our own names
)
_COLUMNS = ", ".join(FIELDS)
_MOVE = sa.text(
    f"""
    WITH taken AS (DELETE FROM audit_pending WHERE id = ANY(:ids) RETURNING id, {_COLUMNS})
    INSERT INTO audit_events (seq, {_COLUMNS}, hash)
    SELECT :tail + place, {_COLUMNS}, decode(hash, 'hex')
    FROM unnest(:ids, :hashes) WITH ORDINALITY AS chained (id, hash, place) JOIN taken USING (id)
    """  # noqa: S608 - our own names
).bindparams(
    sa.bindparam("ids", type_=sa.ARRAY(sa.BigInteger)), sa.bindparam("hashes", type_=sa.ARRAY(sa.Text))
)


class Chainer:
    """Chains events and has the chain signed. For the scheduler, or a worker where none runs.

    Any number may run; they take turns.

    Args:
        sessions: of the role dermabatch_chainer.
        signing_key: the installation's Ed25519 seed, 32 bytes.
        retired_keys: public keys that it has replaced.
        checkpoint_seconds: how often the chain is signed into the storage.
        late_seconds: how long an event may wait before an alarm.
    """

    def __init__(
        self,
        sessions: Sessions,
        store: ObjectStore,
        signing_key: bytes,
        *,
        retired_keys: Sequence[bytes] = (),
        checkpoint_seconds: float = 60,
        late_seconds: float = 5,
    ) -> None:
        self._sessions = sessions
        self._watch = BacklogWatch(late_seconds)
        self.signer = Signer(
            sessions, store, Ed25519PrivateKey.from_private_bytes(signing_key), retired_keys=retired_keys
        )
        self._checkpoint_seconds = checkpoint_seconds

    def run_once(self) -> int:
        """Chain everything visible now; returns how many events. 0 also where another chainer is at work."""
        chained = 0
        while True:
            with self._sessions.begin(auditor=True) as session:
                moved = _chain_batch(session)
            chained += moved
            if moved < BATCH_EVENTS:
                return chained

    def run(self, stop: threading.Event) -> None:
        """Chain five times a second and sign every `checkpoint_seconds`, until told to stop.

        An unreachable database or storage is logged and tried again.
        """
        # A thread of its own: chaining must not wait for a storage that hangs.
        signing = threading.Thread(
            target=self.signer.run, args=(stop, self._checkpoint_seconds), name="audit-signer", daemon=True
        )
        signing.start()
        pause = ROUND_SECONDS
        while not stop.wait(pause):
            try:
                self.run_once()
                pause = ROUND_SECONDS
            except (DBAPIError, ServiceUnavailable) as error:
                _log.warning("audit.chaining_failed", error=str(getattr(error, "orig", error)))
                pause = _RETRY_SECONDS
            self._raise_alarm()
            if not signing.is_alive() and not stop.is_set():
                raise RuntimeError("The signer of the audit trail has ended: the log says why.")
        signing.join()

    def _raise_alarm(self) -> None:
        try:
            with self._sessions.begin() as session:
                backlog = self._watch.look(session)
        except (DBAPIError, ServiceUnavailable):
            return  # the database is away, which the next round will tell
        if backlog.late:
            _log.warning("audit.events_not_chained", late=backlog.late, waiting=backlog.waiting)


def _chain_batch(session: Session) -> int:
    if not session.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(CHAINER_LOCK))):
        return 0
    pending = session.execute(_PENDING).all()
    if not pending:
        return 0
    last = tail(session)
    ids, hashes, previous = [], [], last.hash
    for seq, (id_, *fields) in enumerate(pending, start=last.seq + 1):
        previous = event_hash(previous, seq, fields)
        ids.append(id_)
        hashes.append(previous.hex())
    session.execute(_MOVE, {"ids": ids, "hashes": hashes, "tail": last.seq})
    return len(ids)
