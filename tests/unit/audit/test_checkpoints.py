from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dermabatch.audit import checkpoints
from dermabatch.audit.chain import Link
from dermabatch.errors import CheckpointRefused
from dermabatch.objects import MemoryObjectStore

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
PUBLIC = KEY.public_key()
NEW_KEY = Ed25519PrivateKey.from_private_bytes(b"n" * 32)
NOON = datetime(2026, 1, 31, 12, 0, 0, 1, tzinfo=UTC)


@pytest.fixture
def checkpoint():
    return checkpoints.sign(1, Link(7, b"h" * 32), signed_at=NOON, key=KEY)


@pytest.fixture
def store(checkpoint):
    store = MemoryObjectStore()
    store.put(checkpoints.object_key(1, 7), checkpoint.to_json().encode())
    return store


def test_a_checkpoint_is_read_as_it_was_written(checkpoint):
    assert checkpoints.from_json(checkpoint.to_json()) == checkpoint


def test_its_signature_holds_in_every_time_zone(checkpoint):
    elsewhere = replace(checkpoint, signed_at=NOON.astimezone(timezone(timedelta(hours=5))))
    elsewhere.verify(PUBLIC)


@pytest.mark.parametrize(
    "change",
    [
        {"chapter": 2},
        {"link": Link(8, b"h" * 32)},
        {"link": Link(7, b"g" * 32)},
        {"signed_at": NOON + timedelta(microseconds=1)},
        {"signature": b"s" * 64},
        {"signature": b""},
    ],
)
def test_nothing_in_a_checkpoint_can_be_changed(checkpoint, change):
    with pytest.raises(CheckpointRefused, match="false"):
        replace(checkpoint, **change).verify(PUBLIC)


def test_a_checkpoint_of_another_key_is_refused(checkpoint):
    with pytest.raises(CheckpointRefused, match="false"):
        checkpoint.verify(NEW_KEY.public_key())


def test_the_newest_checkpoint_is_the_first_one_listed(store):
    for seq in (8, 70, 700, 9, 10**18):
        store.put(checkpoints.object_key(1, seq), b"")
    assert list(checkpoints.stored_seqs(store, 1)) == [10**18, 700, 70, 9, 8, 7]


def test_chapters_do_not_see_each_others_checkpoints(store):
    assert list(checkpoints.stored_seqs(store, 2)) == []


def test_a_checkpoint_moved_to_the_place_of_another_is_refused(store, checkpoint):
    store.put(checkpoints.object_key(1, 9), checkpoint.to_json().encode())
    with pytest.raises(CheckpointRefused, match="expected checkpoint 9"):
        checkpoints.newest(store, 1, PUBLIC)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"seq": 1}', b"[" * 100_000])
def test_what_is_no_checkpoint_is_refused(store, content):
    store.put(checkpoints.object_key(1, 9), content)
    with pytest.raises(CheckpointRefused):
        checkpoints.newest(store, 1, PUBLIC)


def test_other_objects_under_the_prefix_are_passed_over(store, checkpoint):
    store.put(checkpoints.PREFIX + "000001/notes.txt", b"")
    assert checkpoints.newest(store, 1, PUBLIC) == checkpoint


def test_an_empty_storage_has_no_newest_checkpoint():
    assert checkpoints.newest(MemoryObjectStore(), 1, PUBLIC) is None
