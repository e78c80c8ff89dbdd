"""Keys and seals: what opens only for its owner, and only where it was put."""

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermabatch.errors import ErasedSubject, SealBroken
from dermabatch.schema import Batch, Image, Subject
from dermabatch.subjects import KeyRing, data_key, open_text, seal_text

RING = KeyRing(bytes(range(32)))


def test_a_wrapped_key_opens_for_its_owner_alone():
    owner = uuid4()
    wrapped = RING.new_wrapped_key(owner)
    assert len(RING.unwrap(wrapped, owner)) == 32
    with pytest.raises(SealBroken):
        RING.unwrap(wrapped, uuid4())
    with pytest.raises(SealBroken):
        KeyRing(bytes(32)).unwrap(wrapped, owner)


def test_every_owner_gets_another_key():
    owner = uuid4()
    assert RING.unwrap(RING.new_wrapped_key(owner), owner) != RING.unwrap(RING.new_wrapped_key(owner), owner)


def test_equal_numbers_are_found_again_within_a_department_and_not_across():
    here, there = uuid4(), uuid4()
    assert RING.lookup_hash(here, "4711") == RING.lookup_hash(here, "4711")
    assert RING.lookup_hash(here, "4711") != RING.lookup_hash(there, "4711")
    assert RING.lookup_hash(here, "4711") != KeyRing(bytes(32)).lookup_hash(here, "4711")


@given(st.text(), st.binary(min_size=32, max_size=32), st.uuids())
def test_a_sealed_text_opens_again(text: str, key: bytes, row_id):
    assert open_text(seal_text(text, key, row_id), key, row_id) == text


@given(st.integers(min_value=0), st.integers(1, 255))
def test_a_sealed_text_that_was_changed_does_not_open(position: int, change: int):
    row_id = uuid4()
    sealed = bytearray(seal_text("Erika Mustermann.jpg", bytes(32), row_id))
    sealed[position % len(sealed)] ^= change
    with pytest.raises(SealBroken):
        open_text(bytes(sealed), bytes(32), row_id)


@pytest.mark.parametrize("cut", [b"", b"short", bytes(12), bytes(20)])
def test_a_seal_that_was_cut_does_not_open(cut: bytes):
    with pytest.raises(SealBroken):
        open_text(cut, bytes(32), uuid4())


def test_a_sealed_text_does_not_open_in_another_row():
    with pytest.raises(SealBroken):
        open_text(seal_text("a.jpg", bytes(32), uuid4()), bytes(32), uuid4())


def test_an_image_is_sealed_with_the_key_of_its_patient_or_else_of_its_batch():
    batch, subject = Batch(id=uuid4()), Subject(id=uuid4())
    batch.wrapped_key, subject.wrapped_key = RING.new_wrapped_key(batch.id), RING.new_wrapped_key(subject.id)
    of_nobody, of_somebody = Image(batch=batch, subject=None), Image(batch=batch, subject=subject)
    assert data_key(RING, of_nobody) == RING.unwrap(batch.wrapped_key, batch.id)
    assert data_key(RING, of_somebody) == RING.unwrap(subject.wrapped_key, subject.id)


def test_nobody_has_the_key_of_an_erased_patient():
    with pytest.raises(ErasedSubject):
        data_key(RING, Image(batch=Batch(id=uuid4()), subject=Subject(id=uuid4(), wrapped_key=None)))
