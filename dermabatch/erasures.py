"""Erasing a patient, and erasing again what a restored backup brings back.

An erasure is written into the storage before it is done in the database, so that whoever restores an older database,
which still holds the key of the patient, has not restored the patient. The storage holds random identifiers and a
proof under the master key: who can merely write there erases nobody.
"""

import hmac
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from dermabatch import audit
from dermabatch.audit import Action, Actor, Details, Outcome
from dermabatch.database import Sessions
from dermabatch.errors import NotFound
from dermabatch.objects import ObjectStore
from dermabatch.schema import Subject
from dermabatch.subjects import KeyRing

PREFIX: Final = "erasures/"
_KEY: Final = re.compile(re.escape(PREFIX) + r"([0-9a-f-]{36})/([0-9a-f-]{36})\.json")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Erasure:
    """A decision that the storage remembers. `decided_by` is the id of a user, or a program."""

    subject_id: UUID
    department_id: UUID
    decided_at: str
    decided_by: str

    @property
    def object_key(self) -> str:
        """Where the storage keeps it."""
        return f"{PREFIX}{self.department_id}/{self.subject_id}.json"

    def proof(self, keyring: KeyRing) -> bytes:
        """What only the master key can make of this decision."""
        said = [self.object_key, self.decided_at, self.decided_by]
        return keyring.proof(json.dumps(said).encode())


def erase_subject(
    session: Session, subject_id: UUID, *, keyring: KeyRing, store: ObjectStore, actor: Actor
) -> None:
    """Destroy the key, the number and the lookup of a patient, with the caller's transaction.

    What was sealed with the key (images, file names, lesion labels) stays where it is and is unreadable from the
    commit on. Where the commit fails after the storage has taken the decision, the scheduler carries it out.

    Raises:
        NotFound: no such subject in this department, or it was erased before.
        ObjectStoreUnavailable: nothing was erased.
    """
    department_id = session.scalar(
        sa.select(Subject.department_id)
        .where(Subject.id == subject_id, Subject.erased_at.is_(None))
        .with_for_update()
    )
    if department_id is None:
        raise NotFound(f"Expected a patient of this department. Received: {subject_id}")
    decided_by = str(actor.id or actor.source)
    erasure = Erasure(subject_id, department_id, datetime.now(UTC).isoformat(), decided_by)
    said = {"time": erasure.decided_at, "by": decided_by, "proof": erasure.proof(keyring).hex()}
    store.put(erasure.object_key, json.dumps(said).encode())
    _destroy(session, erasure, actor, {})


def find_returned(*, sessions: Sessions, store: ObjectStore, keyring: KeyRing) -> list[Erasure]:
    """Erased patients whose key the database holds nevertheless: an older copy of it was restored."""
    returned = []
    for department_id, remembered in _remembered(store).items():
        with sessions.begin(department=department_id) as session:
            readable = session.scalars(
                sa.select(Subject.id).where(
                    Subject.id == sa.any_(sa.literal(remembered, sa.ARRAY(sa.Uuid()))),
                    Subject.department_id == department_id,
                    Subject.erased_at.is_(None),
                )
            ).all()
        returned += [_read(store, keyring, department_id, subject_id) for subject_id in readable]
    return [erasure for erasure in returned if erasure is not None]


def replay_erasures(*, sessions: Sessions, store: ObjectStore, keyring: KeyRing, actor: Actor) -> int:
    """Erase again whom a restored database brought back; returns how many.

    Args:
        sessions: of the portal's role or the worker's.
    """
    returned = find_returned(sessions=sessions, store=store, keyring=keyring)
    for erasure in returned:
        with sessions.begin(department=erasure.department_id) as session:
            decided = {"decided_at": erasure.decided_at, "decided_by": erasure.decided_by}
            _destroy(session, erasure, actor, {"replayed": True, **decided})
        _log.warning("erasure_replayed", subject=str(erasure.subject_id))
    return len(returned)


def _destroy(session: Session, erasure: Erasure, actor: Actor, details: Details) -> None:
    erased = session.scalar(
        sa.update(Subject)
        .where(Subject.id == erasure.subject_id, Subject.erased_at.is_(None))
        .values(lookup_hash=None, patient_sealed=None, wrapped_key=None, erased_at=sa.func.clock_timestamp())
        .returning(Subject.id)
    )
    if erased is None:
        return  # another scheduler was faster
    audit.append(
        session,
        audit.Event(
            Action.SUBJECT_ERASED,
            Outcome.SUCCESS,
            actor=actor,
            department_id=erasure.department_id,
            object_type="subject",
            object_id=str(erasure.subject_id),
            details=details,
        ),
    )


def _remembered(store: ObjectStore) -> Mapping[UUID, Sequence[UUID]]:
    """Erased patients by department: the names of the objects alone, which is one listing."""
    remembered = defaultdict(list)
    for entry in store.list(PREFIX):
        match = _KEY.fullmatch(entry.key)
        if match:
            remembered[UUID(match[1])].append(UUID(match[2]))
    return remembered


def _read(store: ObjectStore, keyring: KeyRing, department_id: UUID, subject_id: UUID) -> Erasure | None:
    key = Erasure(subject_id, department_id, "", "").object_key
    try:
        said = json.loads(store.get(key))
        erasure = Erasure(subject_id, department_id, str(said["time"]), str(said["by"]))
        if hmac.compare_digest(bytes.fromhex(said["proof"]), erasure.proof(keyring)):
            return erasure
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    _log.error("erasure_refused", object=key, remedy="find out who wrote to the bucket")
    return None
