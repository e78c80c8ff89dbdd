"""A portal in clear is for nobody but the machine that it runs on."""

import pytest

import cli.programs
from tests.unit.test_settings import COMPLETE

ANYWHERE = ("0.0.0.0:8000", "[::]:8000", ":8000", "portal.hospital.example:8000")
LOOPBACK = ("127.0.0.1:8000", "[::1]:8000", "localhost:8000")


@pytest.fixture
def started(monkeypatch):
    """What would take the place of this process."""
    commands = []
    monkeypatch.setattr(cli.programs.os, "execv", lambda _, command: commands.append(command))
    for name, value in COMPLETE.items():
        monkeypatch.setenv(f"DERMABATCH_{name}", value)
    return commands


@pytest.mark.parametrize("bind", ANYWHERE)
def test_a_trial_does_not_listen_to_other_machines(bind, started, typed, monkeypatch):
    monkeypatch.setenv("DERMABATCH_TRIAL", "true")
    code, _, said = typed("web", "--bind", bind)
    assert (code, started) == (1, [])
    assert "loopback" in said


@pytest.mark.parametrize("bind", LOOPBACK)
def test_a_trial_listens_to_its_own_machine(bind, started, typed, monkeypatch):
    monkeypatch.setenv("DERMABATCH_TRIAL", "true")
    typed("web", "--bind", bind)
    assert len(started) == 1


def test_a_hospitals_portal_listens_where_its_proxy_is(started, typed):
    typed("web", "--bind", "0.0.0.0:8000")
    assert len(started) == 1
