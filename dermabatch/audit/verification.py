"""Proof that the trail is the one that was written: hashes inside the database, signatures outside it."""

import time
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from dermabatch.audit import evidence
from dermabatch.audit.chain import GENESIS, Link, Progress, Walk, nowhere, walk
from dermabatch.audit.chapters import Gap
from dermabatch.audit.checkpoints import End
from dermabatch.audit.evidence import Evidence
from dermabatch.audit.reading import demand_auditor, link_at, stream, tail
from dermabatch.errors import CheckpointRefused
from dermabatch.objects import ObjectStore


@dataclass(frozen=True, slots=True)
class Verification:
    """The outcome of a verification.

    `events` were walked and `checkpoints` compared; the chain holds `through_seq`, and signatures vouch for
    it `signed_through`, the newest of them given `signed_at`. Where it does not hold, `problem` says so in a
    sentence, `first_bad_seq` names the first event that does not fit, if the problem is with an event, and
    `changed_after` the last moment at which a signature proved that event. `gaps` are what an administrator accepted
    as lost in a restore.
    """

    ok: bool
    events: int
    through_seq: int
    signed_through: int
    signed_at: datetime | None
    first_bad_seq: int | None
    changed_after: datetime | None
    problem: str
    checkpoints: int
    gaps: tuple[Gap, ...]
    seconds: float


def verify(
    session: Session,
    store: ObjectStore,
    verify_key: bytes,
    *,
    full: bool = False,
    progress: Progress = lambda _: None,
) -> Verification:
    """Verify the trail against its hashes and its signed checkpoints.

    Whoever signed the newest checkpoint had walked the chain up to it, so that verifying starts there; `full`
    walks everything again and compares every checkpoint: at 5 microseconds an event, about 200,000 events a second.

    Args:
        session: opened with `auditor=True`, so that it sees every event.
        verify_key: the installation's present Ed25519 public key. It vouches for those it has replaced.
        progress: called now and then with the number of events walked so far.

    Raises:
        ObjectStoreUnavailable: without its checkpoints nothing can be said of the trail.
    """
    demand_auditor(session)
    started = time.perf_counter()
    known, walked = Evidence([], []), None
    try:
        if not full:
            known = evidence.newest(session, store, trusted=[verify_key])
            walked = walk_since(session, known.newest, progress)
        if walked is None or walked.problem:
            # Only the whole walk names the first event that does not fit.
            known = evidence.everything(session, store, trusted=[verify_key])
            walked = walk(stream(session), start=GENESIS, checkpoints=known.hashes, progress=progress)
    except CheckpointRefused as error:
        walked = nowhere(str(error))
    return conclude(walked, known, started)


def walk_since(session: Session, end: End | None, progress: Progress = lambda _: None) -> Walk:
    """Walk the table from the event of a signed end, that event included, to its own end."""
    if end is None or end.link == GENESIS:
        return walk(stream(session), start=GENESIS, checkpoints={}, progress=progress)
    before = end.link.seq - 1
    start = link_at(session, before)
    if start is None:
        # The walk itself says which is missing: the end from here on, or the one event it begins with.
        start = min(tail(session), Link(before - 1, b""))
    return walk(
        stream(session, first=start.seq + 1),
        start=start,
        checkpoints={end.link.seq: end.link.hash},
        progress=progress,
    )


def conclude(walked: Walk, known: Evidence, started: float) -> Verification:
    """A walk as a verdict; `started` is what `time.perf_counter()` said before it."""
    changed_after = None if walked.first_bad_seq is None else known.proven_at(walked.first_bad_seq)
    since = f" (after {changed_after:%Y-%m-%d %H:%M:%S} UTC)" if changed_after else ""
    return Verification(
        ok=not walked.problem,
        events=walked.events,
        through_seq=walked.last.seq,
        signed_through=walked.signed.seq,
        signed_at=known.newest.signed_at if known.newest else None,
        first_bad_seq=walked.first_bad_seq,
        changed_after=changed_after,
        problem=walked.problem and walked.problem + since,
        checkpoints=walked.checkpoints,
        gaps=known.gaps,
        seconds=time.perf_counter() - started,
    )
