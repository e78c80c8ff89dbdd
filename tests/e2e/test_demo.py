"""`dermabatch demo` as a newcomer meets it, mishaps included."""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from dermabatch.embedded.host import free_port, wait_until
from dermabatch.imaging.synthetic import lesion_jpeg

PROGRAM = str(Path(sys.executable).with_name("dermabatch"))


@pytest.fixture
def folder(services):
    """Of a demo; not pytest's own, because PostgreSQL runs under another account."""
    with TemporaryDirectory(prefix="dermabatch-demo-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextmanager
def demo(folder, *options):
    command = [PROGRAM, "demo", "--folder", str(folder), "--port", str(free_port()), *map(str, options)]
    started = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_environment()
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


def _environment():
    return {name: value for name, value in os.environ.items() if not name.startswith("DERMABATCH_")}


def wait_for(demo, stream, words):
    """Read on until a line holds these words; fails where the demo ends before."""
    if not any(words in line for line in stream):
        pytest.fail(f"the demo never said {words!r}: {demo.stderr.read()}")


def still_running(folder):
    """Processes that were started for this folder."""
    marked = str(folder).encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if marked in (process / "cmdline").read_bytes() and process.name != str(os.getpid()):
                found.append(process.name)
        except OSError:
            continue
    return found


def test_ctrl_c_while_it_starts_stops_every_part_and_the_folder_serves_again(folder, tmp_path):
    with demo(folder) as interrupted:
        wait_for(interrupted, interrupted.stderr, "Bringing the database")
        interrupted.send_signal(signal.SIGINT)
        _, said = interrupted.communicate(timeout=60)
    assert interrupted.returncode == 130
    assert "Traceback" not in said
    assert wait_until(lambda: not still_running(folder), seconds=10)

    (tmp_path / "lesion.jpg").write_bytes(lesion_jpeg(3, width=300, height=225))
    (tmp_path / "letter.txt").write_text("Dear colleague")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "link.jpg").symlink_to(tmp_path / "lesion.jpg")
    with demo(folder, "--images", tmp_path, "--exit", "--json") as again:
        shown, said = again.communicate(timeout=180)
    assert again.returncode == 0, said
    answer = json.loads(shown)
    assert answer["states"]["rejected"] == 2
    assert answer["states"]["classified"] + answer["states"]["unassessable"] == 1
    assert answer["audit_verified"]
    assert "Left out link.jpg" in said
    assert wait_until(lambda: not still_running(folder), seconds=10)


def test_a_second_demo_on_the_folder_is_told_so_and_the_first_goes_on_until_ctrl_c(folder):
    with demo(folder) as first:
        wait_for(first, first.stdout, "Ctrl-C stops everything")
        with demo(folder, "--exit") as second:
            _, said = second.communicate(timeout=60)
        assert second.returncode == 1
        assert "is in use by process" in said.splitlines()[-1]
        assert "Traceback" not in said
        assert first.poll() is None
        first.send_signal(signal.SIGINT)
        _, said = first.communicate(timeout=60)
    assert first.returncode == 0
    assert "Traceback" not in said
    assert wait_until(lambda: not still_running(folder), seconds=10)


def test_a_taken_port_is_one_sentence(folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with demo(folder, "--exit", "--port", port) as refused:
            _, said = refused.communicate(timeout=60)
    assert refused.returncode == 1
    assert f"Port {port} cannot be used" in said.splitlines()[-1]
    assert "Traceback" not in said


def test_a_folder_without_files_is_wrong_use(folder, tmp_path):
    with demo(folder, "--exit", "--images", tmp_path) as refused:
        _, said = refused.communicate(timeout=60)
    assert refused.returncode == 2
    assert "nothing that can be read" in said
