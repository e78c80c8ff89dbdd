"""What programs do by themselves leaves one event each, as `integration/events/table.py` says; trouble leaves none."""

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from dermabatch import ledger
from dermabatch.audit import Actor, ActorKind
from dermabatch.erasures import erase_subject
from dermabatch.errors import ObjectStoreUnavailable, ServiceUnavailable
from dermabatch.identifiers import new_id
from dermabatch.intake.abandonment import SILENT_FOR
from dermabatch.lifecycle import BatchState, Queue
from dermabatch.objects import ObjectStore
from dermabatch.queue import WakeUp
from dermabatch.schema import Batch, Subject
from dermabatch.shipped import SHIPPED_MODEL
from tests.integration.events.table import SCHEDULED, TASKS
from tests.integration.intake.conftest import incoming, picture, pictures
from tests.situations import person, register_active_model
from worker.app import _serving
from worker.scheduler import Sweeper


@pytest.fixture
def newest(database):
    """The events since it was asked last."""
    seen = 0

    def _newest():
        nonlocal seen
        query = sa.text("SELECT *, details::json AS told FROM audit_pending WHERE id > :seen ORDER BY id")
        with database.sessions("chainer").begin() as session:
            events = session.execute(query, {"seen": seen}).mappings().all()
        seen = max([seen, *(event["id"] for event in events)])
        return events

    return _newest


class FullStore:
    """The real storage, which takes nothing more."""

    def __init__(self, real: ObjectStore) -> None:
        self.get, self.list, self.delete = real.get, real.list, real.delete

    def put(self, key, data, **options):
        raise ObjectStoreUnavailable("The storage is full.")


def test_a_chunk_is_one_event_that_counts_what_became_of_its_images(work, newest):
    batch = work.intake.upload([*pictures(2), incoming("Mustermann.jpg", picture(7)[:-300] + b"\xff\xd9")])
    newest()
    work.drain()
    [event] = newest()
    line = TASKS["dermabatch.work"]
    assert (event["action"], event["outcome"]) == (line.action, "success")
    assert (event["actor_kind"], event["actor_id"], event["source"]) == (line.by, None, "worker of a test")
    assert (event["object_type"], event["object_id"]) == (line.of, str(batch.batch_id))
    assert event["department_id"] == work.intake.hospital.department
    assert sum(event["told"]["images"].values()) == batch.stored
    work.drain()
    assert newest() == []


def test_a_chunk_that_is_given_back_leaves_nothing(work, newest):
    work.intake.upload(pictures(1))
    newest()
    with pytest.raises(ServiceUnavailable):
        work.pipeline(store=FullStore(work.intake.store)).claim_and_classify()
    assert newest() == []


def test_a_chunk_that_was_cancelled_meanwhile_leaves_the_cancelling_alone(work, newest):
    batch_id = work.intake.upload(pictures(1)).batch_id
    newest()

    def cancel():
        department = work.intake.hospital.department
        with work.intake.web.begin(department=department) as session:
            ledger.cancel_batch(session, batch_id, actor=work.intake.actor)

    work.engine.before_run.append(cancel)
    work.drain()
    assert [event["action"] for event in newest()] == ["batch.cancel"]


def test_a_model_that_does_not_verify_is_refused_once(intake, newest):
    digest = register_active_model(intake.web, intake.hospital)
    for name in ("manifest.json", "manifest.sig"):
        intake.store.put(f"models/{digest}/{name}", b"forged")
    actor = Actor(None, ActorKind.SERVICE, "worker of a test")
    serving = _serving(intake.settings, intake.worker, intake.store, actor)
    newest()
    for _ in range(2):
        with pytest.raises(ServiceUnavailable), serving.current():
            pass
    [event] = newest()
    assert (event["action"], event["outcome"], event["object_id"]) == ("model.refused", "refused", digest)
    assert (event["actor_kind"], event["source"]) == ("service", "worker of a test")


@pytest.fixture
def sweeper(intake):
    wake_up = WakeUp(intake.settings)
    yield Sweeper(intake.worker, intake.store, wake_up, intake.keyring)
    wake_up.close()


def test_a_round_of_the_scheduler_that_finds_nothing_leaves_nothing(intake, sweeper, newest):
    intake.upload(pictures(1))
    newest()
    sweeper.sweep()
    assert newest() == []


def test_a_lapsed_chunk_leaves_nothing(work, sweeper, newest):
    work.intake.upload(pictures(1))
    newest()
    with work.intake.worker.begin() as session:
        claim = ledger.claim(
            session, worker="gone", model_digest=SHIPPED_MODEL.digest, allow_bulk=True, lease_seconds=0
        )
    assert claim is not None
    sweeper.sweep()
    assert newest() == []


def test_an_upload_that_went_silent_is_given_up_with_one_event(intake, sweeper, newest):
    batch = Batch(
        id=new_id(),
        department_id=intake.hospital.department,
        submitted_by=intake.hospital.nurse,
        queue=Queue.INTERACTIVE,
        state=BatchState.RECEIVING,
        wrapped_key=intake.keyring.new_wrapped_key(new_id()),
        touched_at=datetime.now(UTC) - 2 * SILENT_FOR,
    )
    with intake.web.begin(department=intake.hospital.department) as session:
        session.add(batch)
    newest()
    sweeper.sweep()
    [event] = newest()
    line = SCHEDULED["collect_orphans"]
    assert (event["action"], event["outcome"], event["told"]["why"]) == (line.action, "failed", "silent")
    assert (event["actor_kind"], event["actor_id"], event["source"]) == (line.by, None, "scheduler")
    assert (event["object_type"], event["object_id"]) == (line.of, str(batch.id))


def test_a_patient_whom_a_restore_brought_back_is_erased_with_one_event(intake, sweeper, newest):
    intake.upload(pictures(1), metadata="file,patient\n0.jpg,P-4711\n")
    with intake.web.begin(department=intake.hospital.department) as session:
        subject = session.scalars(sa.select(Subject)).one()
        kept = {name: getattr(subject, name) for name in ("lookup_hash", "patient_sealed", "wrapped_key")}
        administrator = person(intake.hospital.administrator)
        erase_subject(session, subject.id, keyring=intake.keyring, store=intake.store, actor=administrator)
    with intake.web.begin(department=intake.hospital.department) as session:
        for name, value in {**kept, "erased_at": None}.items():
            setattr(session.get_one(Subject, subject.id), name, value)
    newest()
    sweeper.sweep()
    [event] = newest()
    line = SCHEDULED["replay_erasures"]
    assert (event["action"], event["outcome"], event["object_id"]) == (
        line.action,
        "success",
        str(subject.id),
    )
    assert (event["actor_kind"], event["source"], event["object_type"]) == (line.by, "scheduler", line.of)
    assert "4711" not in str(event)
