"""A new signing key takes the trail over; the one before signs nothing that counts."""

from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dermabatch.audit import chapters, checkpoints
from dermabatch.audit.chain import Link
from dermabatch.errors import CheckpointRefused, ObjectExists

OLD, NEW = b"k" * 32, b"n" * 32


def private(seed):
    return Ed25519PrivateKey.from_private_bytes(seed)


def public(seed):
    return private(seed).public_key().public_bytes_raw()


@pytest.fixture
def rotated_trail(signed_trail):
    """Three checkpoints of the old key and one of the new, at the events 10, 20, 30 and 40."""
    signed_trail.signing_key, signed_trail.verify_key = NEW, public(NEW)
    signed_trail.chainer = signed_trail.new_chainer(retired_keys=[public(OLD)])
    signed_trail.grow(10)
    return signed_trail


def scheduler_with_the_old_key(trail, **options):
    trail.signing_key = OLD
    return trail.new_chainer(**options)


@pytest.mark.parametrize("full", [True, False])
def test_the_new_public_key_alone_vouches_for_old_checkpoints_too(rotated_trail, full):
    found = rotated_trail.verify(full=full)
    assert (found.ok, found.signed_through, found.gaps) == (True, 40, ())


def test_every_old_checkpoint_is_still_compared(rotated_trail):
    assert rotated_trail.verify().checkpoints == 4
    content = rotated_trail.store.get(checkpoints.object_key(1, 20))
    rotated_trail.store.put(checkpoints.object_key(1, 20), content.replace(b'"seq":20', b'"seq":21'))
    rotated_trail.tamper("DELETE FROM audit_checkpoints")
    assert "expected checkpoint 20" in rotated_trail.verify().problem


def test_the_replacement_is_an_event(rotated_trail):
    rotated_trail.chainer.run_once()
    fields = rotated_trail.events()[-1].fields
    keys = f'{{"key":"{chapters.key_id(public(NEW))}","replaced":"{chapters.key_id(public(OLD))}"}}'
    assert (fields[1], fields[10]) == ("audit.key_replaced", keys)


def test_before_the_new_key_has_signed_the_trail_is_not_called_whole(signed_trail):
    signed_trail.verify_key = public(NEW)
    for full in (True, False):
        found = signed_trail.verify(full=full)
        assert not found.ok
        assert "which is not the present one" in found.problem


def test_a_new_key_that_does_not_know_the_old_one_signs_nothing(signed_trail):
    signed_trail.signing_key = NEW
    signed_trail.write()
    stranger = signed_trail.new_chainer()
    stranger.run_once()
    with pytest.raises(CheckpointRefused, match="not the present one"):
        stranger.signer.sign()
    assert len(list(signed_trail.store.list(chapters.PREFIX))) == 1


@pytest.mark.parametrize("retired", [[], [public(NEW)]], ids=["as it was", "set up the wrong way round"])
def test_a_scheduler_that_still_has_the_old_key_signs_nothing(rotated_trail, retired):
    rotated_trail.write()
    old = scheduler_with_the_old_key(rotated_trail, retired_keys=retired)
    old.run_once()
    with pytest.raises(CheckpointRefused):
        old.signer.sign()
    assert rotated_trail.verify().signed_through == 40


def test_a_checkpoint_forged_with_the_old_key_counts_in_no_chapter(rotated_trail):
    """Dated before the replacement, as whoever stole the old key would."""
    rotated_trail.write()
    rotated_trail.chainer.run_once()
    end = rotated_trail.events()[-1]
    for chapter in (1, 2):
        forged = checkpoints.sign(
            chapter, Link(end.seq, end.hash), signed_at=datetime(2020, 1, 1, tzinfo=UTC), key=private(OLD)
        )
        rotated_trail.store.put(checkpoints.object_key(chapter, end.seq), forged.to_json().encode())
        found = rotated_trail.verify()
        if chapter == 1:
            assert (found.ok, found.signed_through) == (True, 40)
    assert (found.ok, found.problem) == (False, f"the signature of checkpoint {end.seq} is false")


def test_a_chapter_forged_with_the_old_key_is_refused(rotated_trail):
    known = chapters.load(rotated_trail.store, trusted=[public(NEW)])
    with pytest.raises(CheckpointRefused, match="came back"):
        chapters.opening(known, opened_at=datetime.now(UTC), key=private(OLD))
    forged = chapters.opening(known[:1], opened_at=datetime.now(UTC), key=private(OLD))
    with pytest.raises(ObjectExists):
        chapters.put(rotated_trail.store, forged)
    rotated_trail.store.put(chapters.object_key(2), forged.to_json().encode())
    assert "not the present one" in rotated_trail.verify(full=False).problem


def test_a_chapter_that_is_taken_away_is_missed(rotated_trail):
    rotated_trail.store.delete(chapters.object_key(1))
    assert "a chapter is missing" in rotated_trail.verify(full=False).problem


def test_an_old_chapter_that_was_replaced_is_found_by_its_digest(rotated_trail):
    forged = chapters.opening([], opened_at=datetime.now(UTC), key=private(OLD))
    rotated_trail.store.put(chapters.object_key(1), forged.to_json().encode())
    assert "not the one that was opened" in rotated_trail.verify(full=False).problem


def test_keys_are_replaced_again_and_again(rotated_trail):
    third = b"3" * 32
    rotated_trail.signing_key, rotated_trail.verify_key = third, public(third)
    rotated_trail.chainer = rotated_trail.new_chainer(retired_keys=[public(OLD), public(NEW)])
    rotated_trail.grow(10)
    found = rotated_trail.verify()
    assert (found.ok, found.checkpoints) == (True, 5)
