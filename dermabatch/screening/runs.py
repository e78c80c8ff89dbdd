"""A run from its start to its end: who may write to it, and how far it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from dermabatch import audit, model_store
from dermabatch.audit import Action, Actor, Details, Event, Outcome
from dermabatch.database import Sessions
from dermabatch.errors import Conflict, DermabatchError, ServiceUnavailable
from dermabatch.identifiers import new_id
from dermabatch.lifecycle import ModelState, ScreeningState
from dermabatch.schema import Model
from dermabatch.screening.tables import ScreeningRun, SourceKind
from dermabatch.subjects import KeyRing

INTERRUPTED = "interrupted"
_ALIVE = (ScreeningState.LISTING, ScreeningState.CLASSIFYING)


@dataclass(frozen=True, slots=True)
class Night:
    """The place of a scheduled run in time.

    Attributes:
        name: of the schedule.
        day: on which it was to begin, in the hospital's time zone.
        deadline: by which everything is to be classified.
        image_budget: images that it takes in at most.
    """

    name: str
    day: date
    deadline: datetime | None
    image_budget: int | None


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants to be screened.

    Attributes:
        source: what kind it is.
        identity: which one; equal for two that list the same files.
        started_by: a user, in whose name everything is taken in.
        model: digest of the model that is to do it; None takes the active one.
        night: None where a person starts it.
        image_budget: of a run that a person starts.
    """

    source: SourceKind
    identity: str
    department_id: UUID
    started_by: UUID
    model: str | None = None
    night: Night | None = None
    image_budget: int | None = None


class Run:
    """The right to write to a run, until it is started anew somewhere else."""

    def __init__(self, row: ScreeningRun, sessions: Sessions) -> None:
        self.id = row.id
        self.department_id = row.department_id
        self.model_digest = row.model_digest
        self.pinned = row.pinned
        self.deadline = row.deadline
        self.image_budget = row.image_budget
        self._start = row.starts
        self._sessions = sessions

    @contextmanager
    def writing(self, **changes: Any) -> Iterator[Session]:
        """A transaction of this run, which holds its row and notes that it goes on.

        Raises:
            Conflict: it was started anew somewhere else.
        """
        with self._sessions.begin(department=self.department_id) as session:
            ours = session.scalar(
                sa.update(ScreeningRun)
                .where(
                    ScreeningRun.id == self.id,
                    ScreeningRun.starts == self._start,
                    ScreeningRun.state.in_(_ALIVE),
                )
                .values(progress_at=sa.func.clock_timestamp(), **changes)
                .returning(ScreeningRun.id)
            )
            if ours is None:
                raise Conflict(f"The screening {self.id} was started anew somewhere else. It goes on there.")
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that sees what the run's department sees."""
        with self._sessions.begin(department=self.department_id) as session:
            yield session


@contextmanager
def started(wish: Wish, *, sessions: Sessions, keyring: KeyRing, actor: Actor) -> Iterator[Run | None]:
    """Begin a screening, or go on with the one that was stopped; None where this night's has been completed.

    Whatever ends the block is noted on the run, so that the next start can go on.

    Raises:
        Conflict: the same source is being screened, by hand or by a schedule.
        ServiceUnavailable: no model is active.
        NotFound, Conflict: the wanted model is not there, or failed its gate.
    """
    wanted = f"screening {wish.identity}\0{wish.model or ''}\0{wish.source}"
    source_hash = keyring.lookup_hash(wish.department_id, wanted)
    with _alone(sessions, source_hash):
        run = _take(wish, source_hash, sessions, actor)
        if run is None:
            yield None
            return
        try:
            yield run
        except BaseException as error:
            _note_stop(run, error, actor)
            raise


def note(
    session: Session, run: Run, action: Action, outcome: Outcome, actor: Actor, details: Details
) -> None:
    """Append an event of a run. No path, no name and no address of a source goes into the trail."""
    audit.append(
        session,
        Event(
            action,
            outcome,
            actor=actor,
            department_id=run.department_id,
            object_type="screening",
            object_id=str(run.id),
            details=details,
        ),
    )


@contextmanager
def _alone(sessions: Sessions, source_hash: bytes) -> Iterator[None]:
    """Only one program screens a source. One that is killed loses the lock with its connection."""
    lock = int.from_bytes(source_hash[:8], signed=True)
    with sessions.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not connection.scalar(sa.select(sa.func.pg_try_advisory_lock(lock))):
            raise Conflict("This source is being screened already. Wait for that run, or stop it first.")
        try:
            yield
        finally:
            # A connection that was cut has lost the lock anyhow.
            if not connection.invalidated and not connection.closed:
                connection.execute(sa.select(sa.func.pg_advisory_unlock(lock)))


def _take(wish: Wish, source_hash: bytes, sessions: Sessions, actor: Actor) -> Run | None:
    with sessions.begin(department=wish.department_id) as session:
        digest = _model(session, wish.model)
        row = session.scalar(_insert_or_restart(wish, source_hash, digest))
        if row is None:
            return None
        run = Run(row, sessions)
        details: Details = {
            "source": wish.source,
            "model": row.model_digest,
            "pinned": row.pinned,
            "start": row.starts,
            "schedule": row.name,
            "night": row.night.isoformat() if row.night else None,
        }
        note(session, run, Action.SCREENING_STARTED, Outcome.SUCCESS, actor, details)
        return run


def _insert_or_restart(wish: Wish, source_hash: bytes, digest: str) -> Any:
    night = wish.night
    new = insert(ScreeningRun).values(
        id=new_id(),
        department_id=wish.department_id,
        started_by=wish.started_by,
        name=night.name if night else None,
        night=night.day if night else None,
        source=wish.source,
        source_hash=source_hash,
        model_digest=digest,
        pinned=wish.model is not None,
        state=ScreeningState.LISTING,
        deadline=night.deadline if night else None,
        image_budget=night.image_budget if night else wish.image_budget,
    )
    # Known files are counted by each listing anew; everything else has its row.
    again = {
        "starts": ScreeningRun.starts + 1,
        "state": ScreeningState.LISTING,
        "stopped_by": None,
        "cut_short": None,
        "known": 0,
        "model_digest": new.excluded.model_digest,
        "image_budget": new.excluded.image_budget,
        "deadline": new.excluded.deadline,
        "progress_at": sa.func.clock_timestamp(),
    }
    if night is not None:
        upsert = new.on_conflict_do_update(
            index_elements=["name", "night"],
            set_=again,
            where=ScreeningRun.state != ScreeningState.COMPLETED,
        )
    else:
        upsert = new.on_conflict_do_update(
            index_elements=["department_id", "source_hash"],
            index_where=sa.text("name IS NULL AND state <> 'completed'"),
            set_=again,
        )
    return upsert.returning(ScreeningRun)


def _model(session: Session, wanted: str | None) -> str:
    if wanted is None:
        active = model_store.active_digest(session)
        if active is None:
            raise ServiceUnavailable(
                "No model is active. Publish one and activate it: dermabatch models activate."
            )
        return active
    model = session.get_one(Model, wanted)
    if model.state is ModelState.REJECTED:
        raise Conflict(f"Expected a model that passed its gate. Received: {wanted[:12]}, which is rejected")
    return wanted


def _note_stop(run: Run, error: BaseException, actor: Actor) -> None:
    code = error.code if isinstance(error, DermabatchError) else INTERRUPTED
    if not isinstance(error, DermabatchError | KeyboardInterrupt | SystemExit | GeneratorExit):
        code = "fault"
    try:
        with run.writing(state=ScreeningState.STOPPED, stopped_by=code) as session:
            note(session, run, Action.SCREENING_STOPPED, Outcome.FAILED, actor, {"code": code})
    except DermabatchError:
        # The database is away, or another start has taken over: the state says neither more nor less than the truth.
        return
