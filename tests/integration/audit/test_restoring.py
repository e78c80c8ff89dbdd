"""A backup was restored, and an administrator says so: the trail goes on, and the gap stays in sight for ever.

The trail had 40 events and checkpoints at 10, 20, 30 and 40. The backup was made at event 35.
"""

import pytest

from dermabatch import audit
from dermabatch.audit import Actor, ActorKind, chapters, checkpoints
from dermabatch.errors import AuditChainBroken, Conflict
from tests.integration.audit.test_tampering import BACKUP, EDIT, RESTORE, rewrite

ADMINISTRATOR = Actor(None, ActorKind.PERSON, "tests")
REASON = "the disk of the database failed"


@pytest.fixture
def restored_trail(signed_trail):
    """Continued by three events after the restore, which nobody can sign."""
    signed_trail.write(5)
    signed_trail.chainer.run_once()
    signed_trail.tamper(*BACKUP)
    signed_trail.grow(5)
    signed_trail.tamper(*RESTORE)
    signed_trail.write(3)
    signed_trail.chainer.run_once()
    return signed_trail


def accept(trail, *, reason=REASON):
    with trail.database.sessions("web").begin(auditor=True) as session:
        restored = audit.find_restored(session, trail.store, trail.verify_key)
        return audit.accept_restored(
            session,
            trail.store,
            restored,
            signing_key=trail.signing_key,
            actor=ADMINISTRATOR,
            reason=reason,
        )


def test_before_it_is_accepted_nothing_is_signed_and_the_trail_is_not_whole(restored_trail):
    with pytest.raises(AuditChainBroken):
        restored_trail.chainer.signer.sign()
    assert not restored_trail.verify(full=False).ok


def test_what_was_lost_stands_in_the_gap(restored_trail):
    lost = restored_trail.store.get(checkpoints.object_key(1, 40))
    gap = accept(restored_trail)
    # Events 31 to 35 were in the backup, but no signature tells them from others.
    assert (gap.first_seq, gap.last_seq) == (31, 40)
    assert (gap.accepted_by, gap.reason) == ("tests", REASON)
    assert checkpoints.from_json(lost).end == ((gap.last_seq, gap.last_hash), gap.signed_at)


@pytest.mark.parametrize("full", [True, False])
def test_afterwards_the_trail_is_whole_signed_and_shows_the_gap(restored_trail, full):
    gap = accept(restored_trail)
    found = restored_trail.verify(full=full)
    assert (found.ok, found.through_seq, found.signed_through) == (True, 38, 38)
    assert found.gaps == (gap,)
    # As many events as before, so that lost and new checkpoints have the same number.
    restored_trail.chainer.run_once()
    restored_trail.grow(1)
    restored_trail.grow(20)
    found = restored_trail.verify(full=full)
    assert (found.ok, found.signed_through, found.gaps) == (True, 60, (gap,))


def test_accepting_is_an_event(restored_trail):
    accept(restored_trail)
    restored_trail.chainer.run_once()
    fields = restored_trail.events()[-1].fields
    assert fields[1:5] == ("audit.restore_accepted", "success", None, "person")
    assert '"first":31,"last":40' in fields[10]
    assert REASON in fields[10]


def test_the_scheduler_goes_on_by_itself(restored_trail):
    with pytest.raises(AuditChainBroken):
        restored_trail.chainer.signer.sign()
    accept(restored_trail)
    restored_trail.chainer.run_once()
    assert restored_trail.chainer.signer.sign().chapter == 2


@pytest.mark.parametrize("seq", [5, 33])
def test_what_was_kept_is_guarded_as_before(restored_trail, seq):
    accept(restored_trail)
    restored_trail.grow(10)
    rewrite(restored_trail, EDIT.format(seq))
    found = restored_trail.verify()
    assert not found.ok
    assert found.first_bad_seq <= seq


def test_the_lost_checkpoints_stay_as_evidence_and_are_missed_if_they_go(restored_trail):
    accept(restored_trail)
    restored_trail.grow(10)
    restored_trail.store.delete(checkpoints.object_key(1, 30))
    restored_trail.tamper("DELETE FROM audit_checkpoints WHERE seq <> 30")
    assert restored_trail.verify().problem == "checkpoint 30 of chapter 1 is missing from the storage"


def test_the_acceptance_cannot_be_taken_back_or_told_otherwise(restored_trail):
    accept(restored_trail)
    restored_trail.grow(10)
    key = chapters.object_key(2)
    opening = restored_trail.store.get(key)
    restored_trail.store.put(key, opening.replace(b"disk", b"mouse"))
    assert restored_trail.verify(full=False).problem == "the signature of chapter 2 is false"
    restored_trail.store.delete(key)
    assert not restored_trail.verify(full=False).ok


def test_a_whole_trail_has_nothing_to_accept(signed_trail):
    with pytest.raises(Conflict, match="holds all of them"):
        accept(signed_trail)


def test_an_edit_is_not_accepted_as_a_restore(restored_trail):
    restored_trail.tamper(EDIT.format(15))
    with pytest.raises(AuditChainBroken, match="does not explain this: event 15"):
        accept(restored_trail)
    assert len(list(restored_trail.store.list(chapters.PREFIX))) == 1


def test_a_database_that_is_lost_altogether_begins_again(signed_trail):
    signed_trail.tamper("TRUNCATE audit_events, audit_checkpoints")
    gap = accept(signed_trail)
    assert (gap.first_seq, gap.last_seq) == (1, 30)
    signed_trail.chainer.run_once()
    assert signed_trail.chainer.signer.sign().link.seq == 1
    assert signed_trail.verify().ok


def test_an_older_backup_after_a_newer_one_loses_what_came_between(restored_trail):
    first = accept(restored_trail)
    restored_trail.grow(10)
    restored_trail.tamper("DELETE FROM audit_events WHERE seq > 12", "DELETE FROM audit_checkpoints")
    second = accept(restored_trail)
    assert (second.first_seq, second.last_seq) == (11, 49)
    restored_trail.grow(10)
    for full in (True, False):
        found = restored_trail.verify(full=full)
        assert (found.ok, found.gaps) == (True, (first, second))


def test_two_administrators_accept_one_restore_once(restored_trail):
    with restored_trail.database.sessions("web").begin(auditor=True) as session:
        seen = audit.find_restored(session, restored_trail.store, restored_trail.verify_key)
        accept(restored_trail)
        with pytest.raises(Conflict, match="Somebody else"):
            audit.accept_restored(
                session,
                restored_trail.store,
                seen,
                signing_key=restored_trail.signing_key,
                actor=ADMINISTRATOR,
                reason=REASON,
            )
