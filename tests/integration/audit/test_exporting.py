import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dermabatch import audit
from dermabatch.errors import Conflict, NotAllowed
from tests.integration.audit.test_restoring import accept


def export(trail):
    with trail.database.sessions("web").begin(auditor=True) as session:
        return list(audit.export(session, trail.store, trail.verify_key))


@pytest.fixture
def exported(signed_trail):
    """A line with the format, one with the chapter, three with checkpoints at 10, 20 and 30, then the events."""
    return export(signed_trail)


EVENTS_FROM = 5


def verified(trail, lines):
    return audit.verify_export(lines, trail.verify_key)


def edited(lines, seq, old, new):
    """The export with one event changed."""
    place = EVENTS_FROM + seq - 1
    return [*lines[:place], lines[place].replace(old, new, 1), *lines[place + 1 :]]


def without(lines, *places):
    return [line for place, line in enumerate(lines) if place not in places]


def test_an_export_is_verified_with_the_public_key_alone(signed_trail, exported):
    found = verified(signed_trail, exported)
    assert (found.ok, found.events, found.checkpoints, found.signed_through) == (True, 30, 3, 30)


def test_an_export_ends_at_the_newest_checkpoint_so_that_all_of_it_is_signed(signed_trail):
    signed_trail.write(5)
    signed_trail.chainer.run_once()
    assert len(export(signed_trail)) == EVENTS_FROM + 30


def test_its_lines_are_json_with_every_signature_and_hash(signed_trail, exported):
    _, chapter, *checkpoints, first = map(json.loads, exported[: EVENTS_FROM + 1])
    assert json.loads(chapter["chapter"])["key"] == signed_trail.verify_key.hex()
    assert [json.loads(line["checkpoint"])["seq"] for line in checkpoints] == [10, 20, 30]
    assert (first["seq"], first["action"], first["details"]) == (1, "image.view", '{"number":1}')
    assert first["hash"] == signed_trail.events()[0].hash.hex()


def test_before_the_first_checkpoint_there_is_nothing_to_prove(trail):
    trail.write()
    trail.chainer.run_once()
    with pytest.raises(Conflict, match="signed"):
        export(trail)


def test_a_departments_session_exports_nothing(signed_trail):
    with (
        signed_trail.database.sessions("web").begin() as session,
        pytest.raises(NotAllowed),
    ):
        next(audit.export(session, signed_trail.store, signed_trail.verify_key))


def test_another_key_does_not_verify_it(exported):
    other = Ed25519PrivateKey.from_private_bytes(b"o" * 32).public_key().public_bytes_raw()
    assert "not the present one" in audit.verify_export(exported, other).problem


def test_a_replaced_key_and_a_restored_backup_need_no_other_key(signed_trail):
    old_key = signed_trail.verify_key
    signed_trail.signing_key = b"n" * 32
    signed_trail.verify_key = Ed25519PrivateKey.from_private_bytes(b"n" * 32).public_key().public_bytes_raw()
    signed_trail.chainer = signed_trail.new_chainer(retired_keys=[old_key])
    signed_trail.grow(10)
    signed_trail.tamper("DELETE FROM audit_events WHERE seq > 25", "DELETE FROM audit_checkpoints")
    gap = accept(signed_trail)
    signed_trail.grow(10)
    lines = export(signed_trail)
    found = verified(signed_trail, lines)
    assert (found.ok, found.gaps) == (True, (gap,))
    assert not audit.verify_export(lines, old_key).ok
    # The line that tells of the gap is the third chapter's.
    assert b"disk" in lines[3]
    assert not verified(signed_trail, without(lines, 3)).ok


@pytest.mark.parametrize(
    ("forge", "problem"),
    [
        (lambda lines: [], "format"),
        (lambda lines: lines[1:], "format"),
        (lambda lines: lines[:1], "at least one chapter"),
        (lambda lines: without(lines, 1), "at least one chapter"),
        (lambda lines: lines[:EVENTS_FROM], "events 1 to 30 are missing"),
        (lambda lines: lines[:-1], "event 30 is missing"),
        (
            lambda lines: lines[:-15],
            "events 16 to 30 are missing at the end, though checkpoint 30 signed them",
        ),
        (lambda lines: without(lines, 4), "only events up to 20 are signed"),
        (lambda lines: [*lines[:4], lines[4].replace(b"30", b"31"), *lines[5:]], "signature of checkpoint"),
        (lambda lines: [lines[0], lines[1], *lines[1:]], "chapter 2 is not the one"),
        (lambda lines: [*lines[:4], lines[4].replace(b'{"', b'{ "', 1), *lines[5:]], "line 5"),
        (lambda lines: without(lines, EVENTS_FROM + 9), "event 10 is missing"),
        (
            lambda lines: edited(lines, 10, b"image.view", b"image.edit"),
            "event 10 does not fit its hash: what",
        ),
        (lambda lines: edited(lines, 30, b"image.view", b"image.edit"), "event 30 does not fit"),
        (lambda lines: [*lines[:14], lines[15], lines[14], *lines[16:]], "event 10 is missing"),
        (lambda lines: [*lines[:15], lines[14], *lines[15:]], "event 10 stands where event 11"),
        (lambda lines: [*lines, lines[-1].replace(b'"seq":30', b'"seq":31')], "only events up to 30"),
        (lambda lines: [*lines[:14], b"\n", *lines[15:]], "line 15"),
        (lambda lines: [*lines[:14], b"{}\n", *lines[15:]], "line 15"),
        (lambda lines: edited(lines, 10, b"{", b'{"seq":1,'), "line 15"),
        (lambda lines: edited(lines, 10, b'"hash"', b'"note":"x","hash"'), "line 15"),
        (lambda lines: edited(lines, 10, b'"tests"', b'"\\ud800"'), "line 15"),
        (lambda lines: edited(lines, 10, b'"tests"', b"0"), "line 15"),
        (lambda lines: [lines[0].replace(b"{", b'{"note":"x",', 1), *lines[1:]], "format"),
        (lambda lines: edited(lines, 10, b'"seq":10', b'"seq":' + b"9" * 30), "signed"),
    ],
)
def test_a_forged_export_is_found_and_named(signed_trail, exported, forge, problem):
    found = verified(signed_trail, forge(exported))
    assert not found.ok
    assert problem in found.problem


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_no_byte_of_an_export_can_be_changed(signed_trail, exported, data):
    whole = b"".join(exported)
    place = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != whole[place]))
    changed = whole[:place] + bytes([byte]) + whole[place + 1 :]
    assert not verified(signed_trail, changed.splitlines(keepends=True)).ok
