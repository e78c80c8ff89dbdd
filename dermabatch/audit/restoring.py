"""After a backup was restored: an administrator accepts what it lost, and the trail goes on in a new chapter.

To the trail an old copy looks like a cut one, and it should. Accepting takes the signing key and a reason; the gap
stands in the opening of the chapter from then on, and every verification tells of it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.orm import Session

from dermabatch.audit import chapters, evidence
from dermabatch.audit.appending import append
from dermabatch.audit.chain import GENESIS, Link, Progress, walk
from dermabatch.audit.chapters import Gap
from dermabatch.audit.checkpoints import End, spell_time
from dermabatch.audit.events import Action, Actor, Details, Event, Outcome
from dermabatch.audit.evidence import Evidence
from dermabatch.audit.reading import demand_auditor, stream
from dermabatch.errors import AuditChainBroken, Conflict, ObjectExists
from dermabatch.objects import ObjectStore


@dataclass(frozen=True, slots=True)
class Restored:
    """A chain that is whole in itself and no longer holds what was signed.

    `kept` is the last signed end that it still holds, `lost` the newest one, `last` its own end.
    """

    known: Evidence
    kept: Link
    lost: End
    last: Link


def find_restored(
    session: Session, store: ObjectStore, verify_key: bytes, *, progress: Progress = lambda _: None
) -> Restored:
    """What a restored backup lost; reads, and changes nothing.

    Args:
        session: opened with `auditor=True`.

    Raises:
        Conflict: the chain is the one that was signed.
        AuditChainBroken: it does not hold in itself, which no restore explains.
        CheckpointRefused: what the storage holds was not signed for this trail.
    """
    demand_auditor(session)
    known = evidence.everything(session, store, trusted=[verify_key])
    alone = walk(stream(session), start=GENESIS, checkpoints={}, progress=progress)
    if alone.problem:
        raise AuditChainBroken(f"Restoring a backup does not explain this: {alone.problem}")
    signed = walk(stream(session), start=GENESIS, checkpoints=known.hashes, progress=progress)
    if not signed.problem or known.newest is None:
        raise Conflict("Expected a trail that has lost signed events. This one holds all of them.")
    return Restored(known, signed.signed, known.newest, alone.last)


def accept_restored(
    session: Session,
    store: ObjectStore,
    restored: Restored,
    *,
    signing_key: bytes,
    actor: Actor,
    reason: str,
) -> Gap:
    """Open a chapter in which the trail goes on, and record it with the caller's transaction.

    Raises:
        Conflict: somebody else opened a chapter meanwhile.
    """
    now = datetime.now(UTC)
    gap = Gap(
        first_seq=restored.kept.seq + 1,
        last_seq=restored.lost.link.seq,
        last_hash=restored.lost.link.hash,
        signed_at=restored.lost.signed_at,
        accepted_at=now,
        accepted_by=str(actor.id or actor.source),
        reason=reason,
    )
    chapter = chapters.opening(
        restored.known.chapters,
        opened_at=now,
        key=Ed25519PrivateKey.from_private_bytes(signing_key),
        kept=restored.kept,
        resumed=restored.last,
        gap=gap,
    )
    details: Details = {
        "chapter": chapter.number,
        "lost": {"first": gap.first_seq, "last": gap.last_seq, "signed_at": spell_time(gap.signed_at)},
        "reason": reason,
    }
    append(
        session,
        Event(
            Action.AUDIT_RESTORE_ACCEPTED, Outcome.SUCCESS, actor=actor, object_type="audit", details=details
        ),
    )
    try:
        chapters.put(store, chapter)
    except ObjectExists:
        raise Conflict("Somebody else accepted this restore a moment ago.") from None
    return gap
