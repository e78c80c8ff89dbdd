"""An upload may break off at any step. Whatever the step, nothing half-visible is left."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from dermabatch.audit import Actor, ActorKind
from dermabatch.errors import Conflict, ObjectMissing, ObjectStoreUnavailable
from dermabatch.intake import Collected, IncomingFile, collect_orphans
from dermabatch.lifecycle import BatchState, ChunkState, ImageState, PackState
from dermabatch.schema import Batch, Chunk, Image, Pack
from tests.integration.intake.conftest import Intake, incoming, picture, pictures

SCHEDULER = Actor(None, ActorKind.SERVICE, "scheduler")
AT_ONCE = timedelta(0)
OPENING_STEPS = 3
"""Before the upload knows that it has a batch; what is left of it then is the collector's."""


class BreakError(Exception):
    """What a test breaks an upload with."""


class Fuse:
    """Burns through at the nth use; from then on everything fails if the program is to be dead."""

    def __init__(self, at: int, *, dead: bool = False) -> None:
        self.at = at
        self._dead = dead
        self._uses = 0
        self._turn = threading.Lock()
        self.blown = False

    def use(self) -> None:
        with self._turn:
            self._uses += 1
            due = self._uses == self.at or (self._dead and self._uses > self.at)
            self.blown |= due
        if due:
            raise BreakError


class FusedSessions:
    """Real sessions that break before a transaction, before its commit, or after it: the answer got lost."""

    def __init__(self, sessions, fuse: Fuse) -> None:
        self._sessions = sessions
        self._fuse = fuse

    @contextmanager
    def begin(self, **scope) -> Iterator[sa.orm.Session]:
        self._fuse.use()
        with self._sessions.begin(**scope) as session:
            yield session
            self._fuse.use()
        self._fuse.use()


class FusedStore:
    """A real storage that breaks before a write, or after it."""

    def __init__(self, store, fuse: Fuse) -> None:
        self._store = store
        self._fuse = fuse

    def put(self, key: str, data: bytes, **options) -> None:
        self._fuse.use()
        self._store.put(key, data, **options)
        self._fuse.use()

    def delete(self, key: str) -> None:
        self._fuse.use()
        self._store.delete(key)


def files_that_break(fuse: Fuse) -> Iterator[IncomingFile]:
    for file in [*pictures(5), incoming("a.txt", b"x")]:
        fuse.use()
        yield file
    fuse.use()


def collect(intake: Intake, silent_for: timedelta = AT_ONCE) -> Collected:
    return collect_orphans(sessions=intake.worker, store=intake.store, actor=SCHEDULER, silent_for=silent_for)


def assert_nothing_is_half_visible(intake: Intake) -> None:
    """Batches are whole or abandoned; rows and bytes stand for each other."""
    with intake.worker.begin() as session:
        packs = session.scalars(sa.select(Pack)).all()
        assert {pack.state for pack in packs} <= {PackState.STORED, PackState.ABANDONED}
        for batch in session.scalars(sa.select(Batch)):
            assert batch.state in (BatchState.ACCEPTED, BatchState.ABANDONED)
            if batch.state is BatchState.ABANDONED:
                images = session.scalars(sa.select(Image.state).where(Image.batch_id == batch.id))
                assert set(images) <= {ImageState.CANCELLED, ImageState.REJECTED}
                chunks = session.scalars(sa.select(Chunk.state).where(Chunk.batch_id == batch.id))
                assert set(chunks) <= {ChunkState.CANCELLED}
            assert intake.counts(batch.id).difference == 0
    stored = {pack.object_key: pack.sha256 for pack in packs if pack.state is PackState.STORED}
    assert {key: hashlib.sha256(intake.store.get(key)).hexdigest() for key in intake.objects()} == stored


@pytest.mark.parametrize("dead", [False, True], ids=["an error", "kill -9"])
def test_breaking_off_at_any_step_leaves_nothing_half_visible(intake: Intake, dead: bool):
    """The fuse is moved on by one use until an upload gets through; then every step has been broken once."""
    step = 0
    while True:
        step += 1
        fuse = Fuse(step, dead=dead)
        broken = replace(intake, web=FusedSessions(intake.web, fuse), store=FusedStore(intake.store, fuse))
        with suppress(BreakError):
            broken.upload(files_that_break(fuse))
        if not fuse.blown:
            break
        if not dead and step > OPENING_STEPS:
            assert BatchState.RECEIVING not in {batch.state for batch in intake.batches()}
        collect(intake)
        assert_nothing_is_half_visible(intake)
    assert step > 25
    (whole,) = [batch for batch in intake.batches() if batch.state is BatchState.ACCEPTED][-1:]
    assert intake.counts(whole.id).pending == 5


def test_a_storage_that_does_not_answer_ends_the_upload_and_not_the_system(intake: Intake):
    class Away(FusedStore):
        def put(self, key: str, data: bytes, **options) -> None:
            raise ObjectStoreUnavailable("away")

    with pytest.raises(ObjectStoreUnavailable):
        replace(intake, store=Away(intake.store, Fuse(0))).upload(pictures(1))
    assert_nothing_is_half_visible(intake)
    assert intake.upload(pictures(1)).stored == 1


def test_an_upload_that_went_silent_is_given_up_and_cannot_be_finished(intake: Intake):
    def files() -> Iterator[IncomingFile]:
        yield from pictures(4)
        assert collect(intake).batches == 1
        yield incoming("late.jpg", picture(99))

    with pytest.raises(Conflict, match="given up"):
        intake.upload(files())
    assert_nothing_is_half_visible(intake)


def test_a_pack_that_was_given_up_while_it_was_written_is_never_stored(intake: Intake):
    class Slow(FusedStore):
        def put(self, key: str, data: bytes, **options) -> None:
            with intake.worker.begin() as session:
                session.execute(sa.update(Pack).values(state=PackState.ABANDONED))
            self._store.put(key, data, **options)

    with pytest.raises(Conflict, match="given up"):
        replace(intake, store=Slow(intake.store, Fuse(0))).upload(pictures(1))
    assert intake.objects() == set()
    assert_nothing_is_half_visible(intake)


def test_an_upload_that_gave_a_sign_of_life_is_left_alone(intake: Intake):
    def files() -> Iterator[IncomingFile]:
        yield from pictures(4)
        assert collect(intake, timedelta(minutes=15)) == Collected(batches=0, objects=0)

    assert intake.upload(files()).stored == 4


def test_bytes_that_could_not_be_deleted_are_deleted_the_next_time(intake: Intake):
    class Stubborn(FusedStore):
        def delete(self, key: str) -> None:
            raise ObjectStoreUnavailable("away")

    fuse = Fuse(2)  # breaks after the first write
    with pytest.raises(BreakError):
        replace(intake, store=Stubborn(intake.store, fuse)).upload(pictures(1))
    (key,) = intake.objects()
    with pytest.raises(ObjectStoreUnavailable):
        collect(replace(intake, store=Stubborn(intake.store, Fuse(0))))
    assert collect(intake).objects == 1
    with pytest.raises(ObjectMissing):
        intake.store.get(key)
    assert collect(intake).objects == 0


def test_giving_up_is_an_event_with_its_reason(intake: Intake, database):
    with pytest.raises(BreakError):
        intake.upload(files_that_break(Fuse(5)))
    with database.sessions("postgres").begin() as session:
        outcome, details = session.execute(
            sa.text(
                "SELECT outcome, details FROM audit_pending WHERE action = 'batch.upload' ORDER BY id DESC LIMIT 1"
            )
        ).one()
    assert outcome == "failed"
    assert '"why":"BreakError"' in details
