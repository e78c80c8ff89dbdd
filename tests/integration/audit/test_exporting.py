import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dermabatch import audit
from dermabatch.errors import Conflict, NotAllowed


def export(trail, **options):
    with trail.database.sessions("web").begin(auditor=True) as session:
        return list(audit.export(session, trail.store, trail.verify_key, **options))


@pytest.fixture
def exported(signed_trail):
    return export(signed_trail)


def verified(trail, lines, **options):
    return audit.verify_export(lines, trail.verify_key, **options)


def test_an_export_is_verified_with_the_public_key_alone(signed_trail, exported):
    found = verified(signed_trail, exported)
    assert (found.ok, found.events, found.signed_through) == (True, 30, 30)


def test_an_export_ends_at_the_newest_checkpoint_so_that_all_of_it_is_signed(signed_trail):
    signed_trail.write(5)
    signed_trail.chainer.run_once()
    assert len(export(signed_trail)) == 1 + 30


def test_its_lines_are_json_with_the_hash_and_the_key(signed_trail, exported):
    header, first = json.loads(exported[0]), json.loads(exported[1])
    assert json.loads(header["checkpoint"])["key"] == audit.key_id(signed_trail.verify_key)
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


def test_another_key_does_not_verify_it(signed_trail, exported):
    other = Ed25519PrivateKey.from_private_bytes(b"o" * 32).public_key().public_bytes_raw()
    assert "unknown key" in audit.verify_export(exported, other).problem
    assert audit.verify_export(exported, other, retired_keys=[signed_trail.verify_key]).ok


@pytest.mark.parametrize(
    ("forge", "problem"),
    [
        (lambda lines: [], "line 1"),
        (lambda lines: lines[1:], "format"),
        (lambda lines: lines[:1], "events 1 to 30 are missing"),
        (lambda lines: lines[:-1], "event 30 is missing"),
        (lambda lines: lines[:10] + lines[11:], "event 10 is missing"),
        (
            lambda lines: [*lines[:10], lines[10].replace(b"image.view", b"image.edit"), *lines[11:]],
            "event 10",
        ),
        (lambda lines: [*lines[:10], lines[11], lines[10], *lines[12:]], "event 10 is missing"),
        (lambda lines: [*lines, lines[-1].replace(b'"seq":30', b'"seq":31')], "only events up to 30"),
        (lambda lines: [*lines[:10], b"\n", *lines[11:]], "line 11"),
        (lambda lines: [*lines[:10], b"{}\n", *lines[11:]], "line 11"),
        (lambda lines: [*lines[:10], lines[10].replace(b"{", b'{"seq":1,', 1), *lines[11:]], "line 11"),
        (
            lambda lines: [*lines[:10], lines[10].replace(b'"hash"', b'"note":"x","hash"'), *lines[11:]],
            "line 11",
        ),
        (lambda lines: [*lines[:10], lines[10].replace(b'"tests"', b'"\\ud800"'), *lines[11:]], "line 11"),
        (lambda lines: [*lines[:10], lines[10].replace(b'"tests"', b"0"), *lines[11:]], "line 11"),
        (lambda lines: [lines[0].replace(b"{", b'{"note":"x",', 1), *lines[1:]], "line 1"),
        (
            lambda lines: [*lines[:10], lines[10].replace(b'"seq":10', b'"seq":' + b"9" * 30), *lines[11:]],
            "signed",
        ),
    ],
)
def test_a_forged_export_is_found(signed_trail, exported, forge, problem):
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
