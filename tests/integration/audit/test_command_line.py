import base64
import json
import os
import socket

import pytest
from click.testing import CliRunner

from cli.main import dermabatch
from dermabatch.errors import ConfigurationError, Conflict, InvalidRequest, NotAllowed
from tests.situations import open_hospital


@pytest.fixture
def command(monkeypatch, services, trail):
    """Runs `dermabatch audit ...` on the trail; returns its exit code and standard output."""
    environment = services.environment("web", trail.database.name) | {
        "DERMABATCH_S3_BUCKET": "tests",
        "DERMABATCH_VERIFY_KEY": base64.b64encode(trail.verify_key).decode(),
        "DERMABATCH_SIGNING_KEY": base64.b64encode(trail.signing_key).decode(),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def run(*words):
        result = CliRunner().invoke(dermabatch, ["audit", *map(str, words)])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout

    return run


def told(trail):
    """Action, outcome and details of the newest event."""
    trail.chainer.run_once()
    fields = trail.events()[-1].fields
    return fields[1], fields[2], json.loads(fields[10])


@pytest.mark.parametrize("full", [(), ("--full",)])
def test_a_whole_trail_ends_with_zero(command, signed_trail, full):
    code, output = command("verify", *full)
    assert code == 0
    assert output.startswith("The trail is whole")


def test_a_changed_trail_ends_with_one_and_names_the_event(command, signed_trail):
    signed_trail.tamper("UPDATE audit_events SET outcome = 'refused' WHERE seq = 15")
    code, output = command("verify", "--full")
    assert code == 1
    assert "NOT whole: event 15" in output


def test_verifying_is_an_event_that_tells_its_outcome(command, signed_trail):
    code, output = command("verify", "--json", "--full")
    assert (code, json.loads(output)["events"]) == (0, 30)
    assert told(signed_trail) == ("audit.verify", "success", {"full": True, "through_seq": 30})
    signed_trail.tamper("DELETE FROM audit_events WHERE seq = 15")
    command("verify", "--full")
    assert told(signed_trail) == ("audit.verify", "failed", {"full": True, "through_seq": 14})


def test_searching_prints_events_and_where_to_go_on(command, signed_trail):
    code, output = command("search", "--action", "image.view", "--limit", 2, "--json")
    page = json.loads(output)
    assert code == 0
    assert [event["seq"] for event in page["events"]] == [30, 29]
    assert page["events"][0]["details"] == {"number": 30}
    assert page["next_after"] == 29


def test_searching_is_an_event_that_tells_what_was_shown(command, signed_trail):
    command("search", "--object", "7")
    assert told(signed_trail) == ("audit.search", "success", {"filters": ["object_id"], "seqs": [7]})


def test_the_last_page_goes_nowhere(command, signed_trail):
    assert json.loads(command("search", "--after", 3, "--json")[1])["next_after"] is None


def test_a_table_is_printed_for_people(command, signed_trail):
    code, output = command("search", "--since", "2020-01-01", "--until", "2099-01-01T12:00")
    assert code == 0
    assert "image.view" in output


def test_an_export_is_proved_by_another_command_with_the_key_alone(command, signed_trail, tmp_path):
    file, key = tmp_path / "trail.jsonl", tmp_path / "key.txt"
    key.write_text(base64.b64encode(signed_trail.verify_key).decode() + "\n")
    code, output = command("export", "--out", file, "--json")
    assert (code, json.loads(output)["events"]) == (0, 30)
    assert told(signed_trail) == ("audit.export", "success", {"events": 30})
    assert command("verify-export", file, "--public-key", key)[0] == 0
    file.write_bytes(file.read_bytes().replace(b"image.view", b"image.edit", 1))
    assert command("verify-export", file, "--public-key", key)[0] == 1


def test_an_auditor_needs_no_setting_no_database_and_no_storage(command, signed_trail, tmp_path, monkeypatch):
    file, key = tmp_path / "trail.jsonl", tmp_path / "key.txt"
    key.write_text(base64.b64encode(signed_trail.verify_key).decode())
    command("export", "--out", file)
    for name in [name for name in os.environ if name.startswith("DERMABATCH_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(socket, "socket", None)
    code, output = command("verify-export", file, "--public-key", key)
    assert (code, output.count("30")) == (0, 3)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:-5]))
    code, output = command("verify-export", file, "--public-key", key)
    assert code == 1
    assert "events 26 to 30 are missing at the end, though checkpoint 30 signed them" in output


@pytest.fixture
def cut_trail(trail, command):
    """An older database was restored: of 30 signed events the last five are gone. There is an administrator."""
    open_hospital(trail.database.sessions("web"))
    trail.write(30)
    trail.grow()
    trail.tamper("DELETE FROM audit_events WHERE seq > (SELECT max(seq) - 5 FROM audit_events)")
    return trail


def test_an_administrator_accepts_a_restore_and_it_is_shown_ever_after(command, cut_trail):
    assert command("verify")[0] == 1
    words = ("--user", "admin@hospital.example", "--reason", "disk failed", "--yes")
    code, output = command("accept-restore", *words)
    assert code == 0
    assert output.startswith("Gap: events 1 to ")
    code, output = command("verify")
    assert code == 0
    assert "Gap: events 1 to " in output
    assert "disk failed" in output
    with pytest.raises(Conflict):
        command("accept-restore", *words)


def test_nobody_accepts_a_restore_without_being_asked_or_allowed(command, cut_trail):
    with pytest.raises(NotAllowed):
        command("accept-restore", "--user", "nurse@hospital.example", "--reason", "r", "--yes")
    # Nothing on standard input: the question gets no answer.
    assert command("accept-restore", "--user", "admin@hospital.example", "--reason", "r")[0] == 1
    assert command("verify")[0] == 1


def test_a_restore_is_not_accepted_with_another_key_than_the_present_one(command, cut_trail, monkeypatch):
    monkeypatch.setenv("DERMABATCH_SIGNING_KEY", base64.b64encode(b"o" * 32).decode())
    with pytest.raises(ConfigurationError, match="one pair"):
        command("accept-restore", "--user", "admin@hospital.example", "--reason", "r", "--yes")


def test_the_rates_are_measured_on_services_of_their_own(command):
    code, output = command("bench", "--writers", 4, "--events", 20, "--json")
    report = json.loads(output)
    assert (code, report["committed"], report["rolled_back"]) == (0, 72, 8)
    assert report["append_rate"] > 0 < report["verify_rate"]


def test_an_export_overwrites_nothing(command, signed_trail, tmp_path):
    file = tmp_path / "trail.jsonl"
    file.write_text("precious")
    with pytest.raises(InvalidRequest, match="new file"):
        command("export", "--out", file)
    assert file.read_text() == "precious"


def test_an_export_that_fails_leaves_no_file(command, trail, tmp_path):
    with pytest.raises(Conflict):
        command("export", "--out", tmp_path / "trail.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_something_else_than_a_key_is_wrong_use(command, signed_trail, tmp_path):
    (tmp_path / "trail.jsonl").touch()
    with pytest.raises(InvalidRequest, match="public-key"):
        command("verify-export", tmp_path / "trail.jsonl", "--public-key", "nonsense")


def test_a_named_administrator_stands_behind_the_event_and_others_are_refused(command, trail):
    hospital = open_hospital(trail.database.sessions("web"))
    command("search", "--user", "admin@hospital.example", "--actor", "admin@hospital.example")
    trail.chainer.run_once()
    assert trail.events()[-1].fields[3] == str(hospital.administrator)
    with pytest.raises(NotAllowed):
        command("search", "--user", "nurse@hospital.example")
