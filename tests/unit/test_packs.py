import io
import os
import tarfile
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermabatch.errors import SealBroken
from dermabatch.packs import Member, open_sealed, seal, write_pack

KEY = bytes(range(32))
IMAGE = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
OTHER_IMAGE = UUID("01890a5d-ac96-774b-bcce-b302099a8058")


@given(st.lists(st.binary(max_size=2000), max_size=64))
def test_every_entry_points_at_its_ciphertext(ciphertexts):
    members = [Member(str(UUID(int=number)), data) for number, data in enumerate(ciphertexts)]

    pack = write_pack(members)

    found = [(entry.name, pack.data[entry.offset : entry.offset + entry.length]) for entry in pack.entries]
    assert found == [(member.name, member.ciphertext) for member in members]


@given(st.lists(st.binary(max_size=2000), max_size=8))
def test_any_tar_program_can_read_a_pack(ciphertexts):
    pack = write_pack([Member(str(number), data) for number, data in enumerate(ciphertexts)])

    with tarfile.open(fileobj=io.BytesIO(pack.data), mode="r:") as tar:
        read = {member.name: tar.extractfile(member).read() for member in tar.getmembers()}

    assert read == {str(number): data for number, data in enumerate(ciphertexts)}


def test_the_same_members_make_the_same_pack():
    members = [Member("a", b"one"), Member("b", b"two")]

    assert write_pack(members) == write_pack(members)


def test_a_sealed_image_opens_with_its_key_and_id():
    assert open_sealed(seal(b"pixels", KEY, IMAGE), KEY, IMAGE) == b"pixels"


def test_sealing_twice_never_gives_the_same_bytes():
    assert seal(b"pixels", KEY, IMAGE) != seal(b"pixels", KEY, IMAGE)


def test_a_sealed_image_does_not_open_as_another_image():
    with pytest.raises(SealBroken, match=str(OTHER_IMAGE)):
        open_sealed(seal(b"pixels", KEY, IMAGE), KEY, OTHER_IMAGE)


def test_a_sealed_image_does_not_open_with_another_key():
    with pytest.raises(SealBroken):
        open_sealed(seal(b"pixels", KEY, IMAGE), os.urandom(32), IMAGE)


@given(st.data())
def test_a_changed_or_cut_ciphertext_does_not_open(data):
    sealed = bytearray(seal(b"pixels", KEY, IMAGE))
    position = data.draw(st.integers(0, len(sealed) - 1))
    changed = bytearray(sealed)
    changed[position] ^= data.draw(st.integers(1, 255))

    for broken in (bytes(changed), bytes(sealed[:position])):
        with pytest.raises(SealBroken):
            open_sealed(broken, KEY, IMAGE)
