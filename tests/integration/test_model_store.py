import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.exc import IntegrityError, ProgrammingError

from dermabatch import model_store
from dermabatch.audit import Actor, ActorKind
from dermabatch.errors import ArtifactRefused, Conflict, NotAllowed, NotFound, ObjectMissing
from dermabatch.identifiers import new_id
from dermabatch.lifecycle import ModelState
from dermabatch.manifest import WEIGHTS
from dermabatch.schema import Activation, Model
from dermabatch.shipped import SHIPPED_MODEL
from tests.situations import gate_result, person, write_artifact

KEY = Ed25519PrivateKey.from_private_bytes(b"s" * 32)
SIGNING_KEY = KEY.private_bytes_raw()
VERIFY_KEY = KEY.public_key().public_bytes_raw()


@pytest.fixture
def publish(tmp_path, database, object_store, hospital):
    """Publishes an artifact of this name, by default as the installer, and returns its digest."""

    def _publish(name="tiny-1", *, by=None, gate=None, role="web", **changes):
        folder = write_artifact(tmp_path / "artifacts" / name, name=name, **changes)
        model = model_store.publish(
            folder,
            publisher=person(by or hospital.installer),
            sessions=database.sessions(role),
            store=object_store,
            signing_key=SIGNING_KEY,
            gate=gate,
        )
        return model.digest

    return _publish


@pytest.fixture
def fetch(tmp_path, object_store):
    def _fetch(digest, verify_key=VERIFY_KEY):
        return model_store.fetch(digest, store=object_store, cache=tmp_path / "cache", verify_key=verify_key)

    return _fetch


@pytest.fixture
def activate(sessions, hospital):
    def _activate(digest, *, by=None):
        return model_store.activate(digest, actor=person(by or hospital.administrator), sessions=sessions)

    return _activate


def states(sessions):
    with sessions.begin() as session:
        return {model.digest: model.state for model in model_store.list_models(session)}


def audited(database):
    with database.sessions("chainer").begin() as session:
        return list(session.execute(sa.text("SELECT action, outcome FROM audit_pending ORDER BY id")))


def test_a_published_model_is_a_candidate_that_every_machine_can_verify(sessions, publish, fetch, database):
    digest = publish()
    artifact = fetch(digest)
    assert artifact.digest == digest
    assert artifact.read(WEIGHTS) == b"weights.safetensors of tiny-1"
    assert states(sessions) == {digest: ModelState.CANDIDATE}
    assert ("model.published", "success") in audited(database)


def test_publishing_again_changes_nothing(sessions, publish, activate):
    digest = publish()
    activate(digest)
    assert publish() == digest
    assert states(sessions) == {digest: ModelState.ACTIVE}


def test_a_folder_that_fails_its_manifest_is_not_published(tmp_path, sessions, object_store, hospital):
    folder = write_artifact(tmp_path / "changed")
    (folder / WEIGHTS).write_bytes(b"other weights, of this len..")
    with pytest.raises(ArtifactRefused, match=WEIGHTS):
        model_store.publish(
            folder,
            publisher=person(hospital.installer),
            sessions=sessions,
            store=object_store,
            signing_key=SIGNING_KEY,
        )
    assert states(sessions) == {}
    assert list(object_store.list("models/")) == []


def test_the_shipped_model_is_published_once_so_that_any_person_may_activate_it(
    sessions, object_store, hospital, activate
):
    for _ in range(2):
        model = model_store.publish_shipped(sessions=sessions, store=object_store, signing_key=SIGNING_KEY)
    assert (model.digest, model.published_by) == (SHIPPED_MODEL.digest, hospital.installer)
    assert activate(model.digest).activated_by == hospital.administrator


def test_a_shipped_model_other_than_the_pinned_one_is_refused(
    monkeypatch, tmp_path, sessions, object_store, hospital
):
    exchanged = replace(SHIPPED_MODEL, folder=write_artifact(tmp_path / "exchanged"))
    monkeypatch.setattr(model_store, "SHIPPED_MODEL", exchanged)
    with pytest.raises(ArtifactRefused, match=SHIPPED_MODEL.digest):
        model_store.publish_shipped(sessions=sessions, store=object_store, signing_key=SIGNING_KEY)


def test_a_model_signed_by_another_installation_is_refused(publish, fetch):
    other = Ed25519PrivateKey.from_private_bytes(b"t" * 32).public_key().public_bytes_raw()
    with pytest.raises(ArtifactRefused, match="signed by this installation"):
        fetch(publish(), verify_key=other)


@pytest.mark.parametrize(
    "name", ["manifest.json", "manifest.sig", "weights.safetensors", "openvino/model.bin"]
)
def test_a_model_changed_in_storage_is_refused_and_leaves_no_copy(
    name, publish, fetch, object_store, tmp_path
):
    digest = publish()
    key = f"models/{digest}/{name}"
    content = object_store.get(key)
    object_store.put(key, bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(ArtifactRefused):
        fetch(digest)
    assert list((tmp_path / "cache").iterdir()) == []


def test_one_published_model_cannot_stand_in_for_another(publish, fetch, object_store):
    wanted, other = publish("tiny-1"), publish("tiny-2")
    for entry in list(object_store.list(f"models/{other}/")):
        object_store.put(entry.key.replace(other, wanted), object_store.get(entry.key))
    with pytest.raises(ArtifactRefused, match=wanted):
        fetch(wanted)


def test_a_copy_that_was_changed_on_disk_is_fetched_again(publish, fetch):
    digest = publish()
    folder = fetch(digest).folder
    (folder / WEIGHTS).write_bytes(b"tampered")
    assert fetch(digest).read(WEIGHTS) == b"weights.safetensors of tiny-1"


def test_a_verified_copy_serves_without_the_storage(publish, fetch, object_store):
    digest = publish()
    fetch(digest)
    for entry in list(object_store.list(f"models/{digest}/")):
        object_store.delete(entry.key)
    assert fetch(digest).digest == digest


def test_what_the_storage_lacks_is_missing(fetch):
    with pytest.raises(ObjectMissing):
        fetch("0" * 64)


def test_a_digest_cannot_lead_out_of_the_cache(fetch, tmp_path):
    (tmp_path / "kept").mkdir()
    with pytest.raises(ArtifactRefused, match="64 hexadecimal digits"):
        fetch("../kept")
    assert (tmp_path / "kept").is_dir()


def test_workers_that_fetch_at_once_all_get_the_model(publish, fetch):
    digest = publish()
    fetched = []
    threads = [threading.Thread(target=lambda: fetched.append(fetch(digest).digest)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fetched == [digest] * 8


def test_a_second_person_activates_and_the_former_model_retires(
    sessions, publish, activate, hospital, database
):
    first, second = publish("tiny-1"), publish("tiny-2")
    activate(first)
    activate(second)
    assert states(sessions) == {first: ModelState.RETIRED, second: ModelState.ACTIVE}
    with sessions.begin() as session:
        newest = model_store.list_activations(session)[0]
    assert (newest.activated_by, newest.published_by) == (hospital.administrator, hospital.installer)
    assert audited(database).count(("model.activated", "success")) == 2


def test_who_published_a_model_cannot_activate_it_and_the_attempt_is_recorded(
    sessions, publish, activate, hospital, database
):
    digest = publish(by=hospital.administrator)
    with pytest.raises(NotAllowed, match="second person"):
        activate(digest, by=hospital.administrator)
    assert states(sessions) == {digest: ModelState.CANDIDATE}
    assert ("model.activated", "refused") in audited(database)


def test_the_database_itself_demands_the_second_person(sessions, publish, hospital):
    digest = publish()
    with pytest.raises(IntegrityError, match="needs_a_second_person"), sessions.begin() as session:
        session.add(
            Activation(
                model_digest=digest,
                activated_by=hospital.installer,
                published_by=hospital.installer,
                returned=False,
            )
        )


def test_a_service_cannot_activate(sessions, publish, hospital):
    digest = publish(by=hospital.administrator)
    with pytest.raises(NotAllowed, match="a person"):
        model_store.activate(
            digest, actor=Actor(hospital.installer, ActorKind.SERVICE, "tests"), sessions=sessions
        )


def test_one_person_may_go_back_to_a_model_that_was_active(sessions, publish, activate, hospital):
    own, other = publish("tiny-1", by=hospital.nurse), publish("tiny-2")
    activate(own)
    activate(other)
    activation = activate(own, by=hospital.nurse)
    assert activation.returned
    assert states(sessions) == {own: ModelState.ACTIVE, other: ModelState.RETIRED}


def test_rolling_back_returns_to_the_model_before(sessions, publish, activate, hospital, database):
    first, second = publish("tiny-1"), publish("tiny-2")
    activate(first)
    activate(second)
    back = model_store.rollback(actor=person(hospital.administrator), sessions=sessions)
    assert back.model_digest == first
    assert states(sessions) == {first: ModelState.ACTIVE, second: ModelState.RETIRED}
    assert ("model.rolled_back", "success") in audited(database)


def test_there_is_nothing_to_roll_back_to_at_first(sessions, publish, activate, hospital):
    activate(publish())
    with pytest.raises(Conflict, match="none was"):
        model_store.rollback(actor=person(hospital.administrator), sessions=sessions)


def test_a_model_that_is_active_is_not_activated_again(publish, activate):
    digest = publish()
    activate(digest)
    with pytest.raises(Conflict, match="is active"):
        activate(digest)


def test_a_model_that_fails_its_gate_is_rejected_and_no_administrator_activates_it(
    sessions, publish, activate, database
):
    digest = publish(gate=gate_result(passed=False))
    assert states(sessions) == {digest: ModelState.REJECTED}
    with pytest.raises(Conflict, match="is rejected"):
        activate(digest)
    assert states(sessions) == {digest: ModelState.REJECTED}
    assert ("model.judged", "refused") in audited(database)


def test_the_result_of_the_gate_stands_with_the_model(sessions, publish, database):
    gate = gate_result(passed=True)
    digest = publish(gate=gate)
    with sessions.begin() as session:
        assert model_store.find_model(session, digest).gate == json.loads(json.dumps(gate.as_json()))
    assert audited(database)[-2:] == [("model.published", "success"), ("model.judged", "success")]


def test_a_rejected_model_becomes_a_candidate_only_by_passing_another_gate(sessions, publish):
    digest = publish(gate=gate_result(passed=False))
    publish()  # without a gate
    assert states(sessions) == {digest: ModelState.REJECTED}
    publish(gate=gate_result(passed=True))
    assert states(sessions) == {digest: ModelState.CANDIDATE}


def test_a_candidate_that_fails_a_later_gate_is_rejected(sessions, publish):
    digest = publish(gate=gate_result(passed=True))
    publish(gate=gate_result(passed=False))
    assert states(sessions) == {digest: ModelState.REJECTED}


def test_a_gate_changes_nothing_for_a_model_that_has_served(sessions, publish, activate):
    first, second = publish("tiny-1"), publish("tiny-2")
    activate(first)
    activate(second)
    for name in ("tiny-1", "tiny-2"):
        publish(name, gate=gate_result(passed=False))
    assert states(sessions) == {first: ModelState.RETIRED, second: ModelState.ACTIVE}


def test_the_database_itself_ties_rejection_to_a_failed_gate(sessions, publish):
    publish()
    with pytest.raises(IntegrityError, match="rejected_by_its_gate"), sessions.begin() as session:
        session.execute(sa.update(Model).values(state=ModelState.REJECTED))


def test_of_programs_that_publish_one_artifact_at_once_one_registers_it_and_all_succeed(
    tmp_path, sessions, object_store, hospital, database
):
    folder = write_artifact(tmp_path / "artifact")
    together = threading.Barrier(6)

    def publish_with_the_others(_):
        together.wait()
        return model_store.publish(
            folder,
            publisher=person(hospital.installer),
            sessions=sessions,
            store=object_store,
            signing_key=SIGNING_KEY,
        ).digest

    with ThreadPoolExecutor(6) as threads:
        (digest,) = set(threads.map(publish_with_the_others, range(6)))
    assert states(sessions) == {digest: ModelState.CANDIDATE}
    assert audited(database).count(("model.published", "success")) == 1


def test_the_training_jobs_role_publishes_and_judges_and_the_database_keeps_it_from_activating(
    sessions, publish, activate, database
):
    serving, candidate = publish("tiny-1"), publish("tiny-2", role="trainer", gate=gate_result(passed=True))
    activate(serving)
    publish("tiny-2", role="trainer", gate=gate_result(passed=False))
    assert states(sessions) == {serving: ModelState.ACTIVE, candidate: ModelState.REJECTED}
    trainer = database.sessions("trainer")
    with pytest.raises(ProgrammingError, match="row-level security"), trainer.begin() as session:
        session.execute(
            sa.update(Model).where(Model.digest == candidate).values(state=ModelState.RETIRED, gate=None)
        )
    with trainer.begin() as session:
        retired = sa.update(Model).where(Model.digest == serving).values(state=ModelState.CANDIDATE)
        assert session.execute(retired).rowcount == 0
    with pytest.raises(ProgrammingError, match="permission denied"), trainer.begin() as session:
        session.add(
            Activation(model_digest=candidate, activated_by=new_id(), published_by=new_id(), returned=False)
        )


@pytest.mark.parametrize(
    "table", ["images", "predictions", "batches", "subjects", "api_tokens", "activations"]
)
def test_the_training_jobs_role_sees_nothing_of_a_patient_and_no_token(database, table):
    with (
        pytest.raises(ProgrammingError, match="permission denied"),
        database.sessions("trainer").begin() as session,
    ):
        session.execute(sa.text(f"SELECT FROM {table}"))


def test_the_training_jobs_role_reads_no_password(database):
    with (
        pytest.raises(ProgrammingError, match="permission denied"),
        database.sessions("trainer").begin() as session,
    ):
        session.execute(sa.text("SELECT password FROM users"))


def test_of_many_activations_at_once_each_takes_its_turn(sessions, publish, activate):
    digests = [publish(f"tiny-{number}") for number in range(5)]
    threads = [threading.Thread(target=activate, args=[digest]) for digest in digests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(states(sessions).values()) == [ModelState.ACTIVE] + 4 * [ModelState.RETIRED]
    with sessions.begin() as session:
        activations = model_store.list_activations(session)
        assert model_store.active_model(session).digest == activations[0].model_digest
    moments = [activation.activated_at for activation in activations]
    assert moments == sorted(moments, reverse=True)


def test_the_registry_says_which_model_served_at_a_moment(sessions, publish, activate):
    first, second = publish("tiny-1"), publish("tiny-2")
    since_first, since_second = activate(first).activated_at, activate(second).activated_at
    with sessions.begin() as session:

        def served(moment):
            activation = model_store.served_at(session, moment)
            return activation and activation.model_digest

        assert served(since_first - timedelta(microseconds=1)) is None
        assert served(since_first) == first
        assert served(since_second - timedelta(microseconds=1)) == first
        assert served(datetime.now(UTC)) == second


def test_a_model_is_found_by_the_start_of_its_digest(sessions, publish):
    digest = publish()
    with sessions.begin() as session:
        assert model_store.find_model(session, digest[:6].upper()).digest == digest
        for wrong in (digest[:5], "______", "0" * 64, ""):
            with pytest.raises(NotFound, match="fits none"):
                model_store.find_model(session, wrong)


def test_a_half_fetched_model_is_never_seen(publish, fetch, object_store, tmp_path):
    digest = publish()
    object_store.delete(f"models/{digest}/card.md")
    with pytest.raises(ArtifactRefused, match=r"card\.md"):
        fetch(digest)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_model_signed_with_a_key_that_was_retired_still_serves(publish, object_store, tmp_path):
    new_key = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    digest = publish()
    fetched = model_store.fetch(
        digest, store=object_store, cache=tmp_path / "cache", verify_key=new_key, retired_keys=[VERIFY_KEY]
    )
    assert fetched.digest == digest
