"""What the owner of the database can do to the trail, and that each of it is found and named.

The trail has 30 events, and checkpoints at the events 10, 20 and 30.
"""

import pytest
import sqlalchemy as sa

from dermabatch.audit import AuditCheckpoint, chapters, checkpoints, verify
from dermabatch.audit.chain import FIELDS, GENESIS, event_hash
from dermabatch.audit.reading import stream
from dermabatch.errors import AuditChainBroken, CheckpointRefused, NotAllowed

COLUMNS = ", ".join(FIELDS)
EDIT = "UPDATE audit_events SET outcome = 'refused' WHERE seq = {}"
BACKUP = (
    "CREATE TABLE copy_events AS TABLE audit_events",
    "CREATE TABLE copy_signed AS TABLE audit_checkpoints",
)
RESTORE = (
    *("DELETE FROM audit_events", "INSERT INTO audit_events SELECT * FROM copy_events"),
    *("DELETE FROM audit_checkpoints", "INSERT INTO audit_checkpoints SELECT * FROM copy_signed"),
)


class Watched:
    """A storage that notes what is read, and of listings what is looked at."""

    def __init__(self, store, reads):
        self._store = store
        self._reads = reads

    def get(self, key):
        self._reads.append(key)
        return self._store.get(key)

    def list(self, prefix):
        for number, entry in enumerate(self._store.list(prefix)):
            assert number < 1, "a quick look lists no further than the first"
            yield entry


def rewrite(trail, statement):
    """Tamper as somebody does who knows how the chain is built: afterwards every hash fits."""
    with trail.owner_with_the_walls_down() as session:
        session.execute(sa.text(statement))
        previous, hashes = GENESIS.hash, []
        for event in stream(session):
            previous = event_hash(previous, event.seq, event.fields)
            hashes.append({"seq": event.seq, "hash": previous})
        session.execute(sa.text("UPDATE audit_events SET hash = :hash WHERE seq = :seq"), hashes)


def rows_of_checkpoints(trail):
    with trail.database.sessions("web").begin() as session:
        return session.scalars(sa.select(AuditCheckpoint)).all()


def renumber(trail, *, above, by, before="SELECT 1", after="SELECT 1"):
    trail.tamper(
        before,
        f"UPDATE audit_events SET seq = seq + 1000 WHERE seq > {above}",
        f"UPDATE audit_events SET seq = seq - 1000 + {by} WHERE seq > 1000",
        after,
    )


def test_a_trail_left_alone_is_whole(signed_trail):
    found = signed_trail.verify()
    assert (found.ok, found.problem, found.first_bad_seq) == (True, "", None)
    assert (found.events, found.through_seq, found.signed_through, found.checkpoints) == (30, 30, 30, 3)


def test_unless_asked_for_all_only_the_newest_events_are_walked(signed_trail):
    signed_trail.write(5)
    signed_trail.chainer.run_once()
    found = signed_trail.verify(full=False)
    assert (found.ok, found.events, found.through_seq, found.signed_through) == (True, 6, 35, 30)


def test_an_edit_of_any_column_is_found(signed_trail):
    edits = {
        "action": "'image.edited'",
        "outcome": "'refused'",
        "actor_id": "gen_random_uuid()",
        "actor_kind": "'person'",
        "source": "source || ' '",
        "request_id": "''",
        "department_id": "gen_random_uuid()",
        "object_type": "NULL",
        "object_id": "'31'",
        "details": "details || ' '",
        "hash": "sha256(hash)",
        "recorded_at": "recorded_at + interval '1 microsecond'",
    }
    # From the end on, so that each edit becomes the first that does not fit; the event after it is untouched.
    for seq, (column, value) in zip(range(28, 0, -2), edits.items(), strict=False):
        signed_trail.tamper(f"UPDATE audit_events SET {column} = {value} WHERE seq = {seq}")
        found = signed_trail.verify()
        assert (found.ok, found.first_bad_seq) == (False, seq), column
        deed = "the hash itself was changed" if column == "hash" else "what it says was changed"
        assert found.problem.startswith(f"event {seq} does not fit its hash: {deed}")


def test_since_when_is_told_by_the_signature_that_still_found_it_whole(signed_trail):
    signed_at = {row.seq: row.signed_at for row in rows_of_checkpoints(signed_trail)}
    signed_trail.tamper(EDIT.format(15))
    found = signed_trail.verify()
    assert found.changed_after == signed_at[20]
    assert found.problem.endswith(f" (after {signed_at[20]:%Y-%m-%d %H:%M:%S} UTC)")
    signed_trail.tamper("DELETE FROM audit_events WHERE seq > 12")
    assert signed_trail.verify().changed_after == signed_at[20]


def test_a_time_outside_the_calendar_is_found(signed_trail):
    signed_trail.tamper("UPDATE audit_events SET recorded_at = 'infinity' WHERE seq = 15")
    assert signed_trail.verify().first_bad_seq == 15


def test_a_deletion_is_found(signed_trail):
    signed_trail.tamper("DELETE FROM audit_events WHERE seq = 15")
    found = signed_trail.verify()
    assert (found.first_bad_seq, found.problem[:19]) == (15, "event 15 is missing")


def test_a_deletion_hidden_by_new_numbers_is_found(signed_trail):
    renumber(signed_trail, above=15, by=-1, before="DELETE FROM audit_events WHERE seq = 15")
    found = signed_trail.verify()
    assert found.first_bad_seq == 15
    assert "the event before it was deleted" in found.problem


def test_an_insertion_is_found(signed_trail):
    copy = f"SELECT 15, {COLUMNS}, hash FROM audit_events WHERE seq = 3"
    insert = f"INSERT INTO audit_events (seq, {COLUMNS}, hash) {copy}"
    renumber(signed_trail, above=14, by=1, after=insert)
    found = signed_trail.verify()
    assert found.first_bad_seq == 15
    assert "it was inserted or moved here" in found.problem


def test_an_insertion_before_the_first_event_is_found(signed_trail):
    copy = f"SELECT 0, {COLUMNS}, hash FROM audit_events WHERE seq = 3"
    signed_trail.tamper(
        "ALTER TABLE audit_events DROP CONSTRAINT ck_audit_events_seq_from_one",
        f"INSERT INTO audit_events (seq, {COLUMNS}, hash) {copy}",
    )
    assert signed_trail.verify().first_bad_seq == 0


def test_two_events_that_changed_places_are_found(signed_trail):
    signed_trail.tamper(
        "UPDATE audit_events SET seq = 1000 WHERE seq = 15",
        "UPDATE audit_events SET seq = 15 WHERE seq = 17",
        "UPDATE audit_events SET seq = 17 WHERE seq = 1000",
    )
    assert signed_trail.verify().first_bad_seq == 15


@pytest.mark.parametrize("full", [True, False])
def test_a_cut_tail_is_found(signed_trail, full):
    signed_trail.tamper(
        "DELETE FROM audit_events WHERE seq > 25", "DELETE FROM audit_checkpoints WHERE seq > 25"
    )
    found = signed_trail.verify(full=full)
    assert found.first_bad_seq == 26
    assert found.problem.startswith(
        "events 26 to 30 are missing at the end, though checkpoint 30 signed them"
    )


@pytest.mark.parametrize("full", [True, False])
def test_a_dropped_chain_is_found(signed_trail, full):
    signed_trail.tamper("TRUNCATE audit_events, audit_checkpoints")
    found = signed_trail.verify(full=full)
    assert (found.first_bad_seq, found.through_seq) == (1, 0)
    assert "the chain was cut or dropped" in found.problem


@pytest.mark.parametrize("full", [True, False])
def test_a_restored_backup_is_found(signed_trail, full):
    signed_trail.tamper(*BACKUP)
    signed_trail.grow(10)
    signed_trail.tamper(*RESTORE)
    found = signed_trail.verify(full=full)
    assert found.first_bad_seq == 31
    assert "an older copy was restored" in found.problem


@pytest.mark.parametrize("full", [True, False])
def test_a_restored_backup_that_grew_again_is_found(signed_trail, full):
    signed_trail.tamper(*BACKUP)
    signed_trail.grow(10)
    signed_trail.tamper(*RESTORE)
    signed_trail.write(25)
    signed_trail.chainer.run_once()
    found = signed_trail.verify(full=full)
    assert found.first_bad_seq == 31
    assert "an older copy was restored" in found.problem


@pytest.mark.parametrize("full", [True, False])
def test_a_rewritten_chain_is_found(signed_trail, full):
    rewrite(signed_trail, EDIT.format(15))
    found = signed_trail.verify(full=full)
    # Nothing inside the database contradicts the edit; the checkpoints before and after it enclose it.
    assert found.first_bad_seq == 11
    assert found.problem.startswith("events 11 to 20 are not as checkpoint 20 signed")


@pytest.mark.parametrize("full", [True, False])
def test_a_rewritten_chain_with_rewritten_checkpoint_rows_is_found(signed_trail, full):
    rewrite(signed_trail, EDIT.format(15))
    signed_trail.tamper(
        "UPDATE audit_checkpoints SET hash = e.hash FROM audit_events e WHERE e.seq = audit_checkpoints.seq"
    )
    assert signed_trail.verify(full=full).first_bad_seq == 11


@pytest.mark.parametrize(
    "spoil",
    [
        lambda trail: rewrite(trail, EDIT.format(15)),
        lambda trail: trail.tamper("DELETE FROM audit_events WHERE seq > 25"),
        lambda trail: trail.tamper("TRUNCATE audit_events"),
        lambda trail: trail.tamper(EDIT.format(30)),
    ],
    ids=["rewritten", "cut", "dropped", "edited"],
)
def test_a_spoilt_chain_is_never_signed_over(signed_trail, spoil):
    spoil(signed_trail)
    signed_trail.write(20)
    for chainer in (signed_trail.chainer, signed_trail.new_chainer()):
        chainer.run_once()
        with pytest.raises(AuditChainBroken):
            chainer.signer.sign()
    assert list(checkpoints.stored_seqs(signed_trail.store, 1)) == [30, 20, 10]


def test_a_checkpoint_missing_from_the_storage_is_found(signed_trail):
    signed_trail.store.delete(checkpoints.object_key(1, 20))
    found = signed_trail.verify()
    assert (found.ok, found.problem) == (False, "checkpoint 20 of chapter 1 is missing from the storage")


def test_a_false_checkpoint_in_the_storage_is_found(signed_trail):
    content = signed_trail.store.get(checkpoints.object_key(1, 30)).replace(b'"seq":30', b'"seq":31')
    signed_trail.store.put(checkpoints.object_key(1, 31), content)
    found = signed_trail.verify(full=False)
    assert (found.ok, found.problem) == (False, "the signature of checkpoint 31 is false")
    with pytest.raises(CheckpointRefused):
        signed_trail.new_chainer().signer.sign()


@pytest.mark.parametrize(
    "loss", ["DELETE FROM audit_checkpoints", "UPDATE audit_checkpoints SET signature = ''"]
)
def test_without_the_rows_of_the_checkpoints_the_storage_tells(signed_trail, loss):
    signed_trail.tamper(loss)
    found = signed_trail.verify()
    assert (found.ok, found.checkpoints, found.signed_through) == (True, 3, 30)


def test_a_storage_that_lost_everything_is_found_at_a_quick_look_too(signed_trail):
    for prefix in (chapters.PREFIX, checkpoints.PREFIX):
        for entry in signed_trail.store.list(prefix):
            signed_trail.store.delete(entry.key)
    found = signed_trail.verify(full=False)
    assert (found.ok, found.problem) == (False, "every checkpoint is missing from the storage")


def test_a_quick_look_reads_the_same_few_objects_however_long_the_trail_is(signed_trail):
    reads = []
    store = Watched(signed_trail.store, reads)
    for _ in range(2):
        with signed_trail.database.sessions("web").begin(auditor=True) as session:
            assert verify(session, store, signed_trail.verify_key).ok
        signed_trail.grow(10)
    assert [key.split("/")[1] for key in reads] == ["chapters", "checkpoints"] * 2


def test_a_departments_session_cannot_verify_because_it_sees_holes(signed_trail):
    with (
        signed_trail.database.sessions("web").begin() as session,
        pytest.raises(NotAllowed, match="auditor"),
    ):
        verify(session, signed_trail.store, signed_trail.verify_key)


def test_an_empty_trail_is_whole(trail):
    found = trail.verify()
    assert (found.ok, found.events, found.checkpoints) == (True, 0, 0)
