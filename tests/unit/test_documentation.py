"""The guides name all that there is, and nothing that is not."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml
from flask import Flask

from cli.main import dermabatch
from cli.migrate import MigrationSettings
from dermabatch.accounts import ROLES, Scope
from dermabatch.audit import Action
from dermabatch.errors import DecoderDied, ErasedSubject, SealBroken
from dermabatch.imaging.quality import QualityFlag
from dermabatch.imaging.rejection import RejectionReason
from dermabatch.intake import IntakeReason
from dermabatch.intake.metadata import COLUMNS, parse_metadata
from dermabatch.production import RULES
from dermabatch.settings import Settings
from dermabatch.taxonomy import LESION_CLASSES
from dermabatch.triage import Triage
from webui.api import register_api

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FOLDERS = ("dermabatch", "worker", "webui", "training", "cli", "migrations", "tests", "docs")
REASONS_OF_THE_WORKER = (DecoderDied.code, SealBroken.code, ErasedSubject.code)


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def table(text: str, heading: str) -> dict[str, list[str]]:
    """Rows of the first table below a heading: what their first cell has in code, to the other cells."""
    rows = re.findall(
        r"^\| *(`.+?) *\|(.+)\|$", text.split(f"\n## {heading}\n")[1].split("\n## ", maxsplit=1)[0], re.M
    )
    return {name: [cell.strip() for cell in rest.split("|")] for first, rest in rows for name in code(first)}


def code(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", text)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path):
    links = re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8"))
    targets = [link.partition("#") for link in links if "://" not in link]
    assert [name for name, _, _ in targets if not (path.parent / name).exists()] == []
    for name, _, anchor in targets:
        if anchor:
            headings = re.findall(r"^#+ (.+)$", (path.parent / name if name else path).read_text(), re.M)
            assert anchor in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_is_named_exists(path):
    text = path.read_text(encoding="utf-8")
    named = {name for name in code(text) if re.fullmatch(rf"({'|'.join(FOLDERS)})/[\w./-]*", name)}
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_setting_stands_in_the_table_with_its_default():
    documented = {
        name: cells[0].strip("`") for name, cells in table(page("docs/operators.md"), "Settings").items()
    }
    assert documented == {f"DERMABATCH_{name.upper()}": _default(name) for name in Settings.model_fields}


def _default(name: str) -> str:
    field = Settings.model_fields[name]
    if field.is_required():
        return "required"
    if field.default in (None, ()):
        return "none"
    return str(field.default).lower() if isinstance(field.default, bool) else str(field.default)


def test_no_page_names_a_setting_that_nobody_reads():
    fields = {*Settings.model_fields, *MigrationSettings.model_fields, "user"}
    named = {name for path in PAGES for name in re.findall(r"DERMABATCH_[A-Z_0-9]+", path.read_text())}
    assert named <= {f"DERMABATCH_{name.upper()}" for name in fields}


def test_staff_find_every_reason_why_a_file_was_left_out():
    explained = table(page("docs/guide-staff.md"), "Files that were left out")
    assert set(explained) == {*RejectionReason, *IntakeReason, *REASONS_OF_THE_WORKER}


def test_staff_find_every_level_flag_and_class():
    text = page("docs/guide-staff.md")
    assert [level.label for level in Triage if f"| {level.label} |" not in text] == []
    assert [flag.value for flag in QualityFlag if f"`{flag}`" not in text] == []
    words = " ".join(text.lower().split())
    names = [re.split(" /|$", lesion.name.lower())[0] for lesion in LESION_CLASSES]
    assert [name for name in names if name not in words] == []


def test_the_csv_that_staff_are_shown_is_taken_in(tmp_path):
    text = page("docs/guide-staff.md")
    example = tmp_path / "example.csv"
    example.write_text(re.findall(r"```csv\n(.+?)```", text, re.S)[0])
    with example.open("rb") as stream:
        metadata = parse_metadata(stream)
    assert [row.problem for row in metadata.rows] == [None, None, None]
    assert metadata.ignored_columns == ()
    assert set(table(text, "Say what the pictures show")) == set(COLUMNS)


def test_administrators_find_every_event_role_and_scope():
    text = page("docs/guide-administrators.md")
    assert set(table(text, "The audit trail")) == set(Action)
    assert set(table(text, "Tokens for programs")) == set(Scope)
    assert [role for role in ROLES if f"| {role} |" not in text] == []


def test_operators_are_told_to_watch_for_events_that_are_logged():
    programs = [path for folder in FOLDERS[:3] for path in (ROOT / folder).rglob("*.py")]
    source = "".join(path.read_text(encoding="utf-8") for path in programs)
    events = [name for name in table(page("docs/operators.md"), "Monitoring") if name != "lapses"]
    assert events
    assert [name for name in events if f'"{name}"' not in source] == []


def test_operators_find_everything_with_which_no_program_starts():
    assert set(table(page("docs/operators.md"), "What no program starts with")) == set(RULES)


def test_every_route_of_the_api_is_listed():
    app = Flask("webui")
    register_api(app)
    routes = {
        f"{method} {_written(rule.rule)}"
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if rule.rule.startswith("/api/v1/") and not rule.rule.endswith("openapi.json")
    }
    assert set(table(page("docs/api.md"), "Every address")) == routes


def _written(rule: str) -> str:
    """`/images/<uuid:image_id>` as `/images/{image_id}`."""
    return re.sub(r"<(?:[^:>]+:)?([^>]+)>", r"{\1}", rule)


def test_every_command_has_its_section():
    commands = dermabatch.list_commands(click.Context(dermabatch))
    assert re.findall(r"^### `dermabatch (\S+)`$", page("docs/cli.md"), re.M) == commands


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_line_that_is_shown_can_be_typed(path):
    for words in _command_lines(path.read_text(encoding="utf-8")):
        _walk(words)


def _command_lines(text: str) -> Iterator[list[str]]:
    """What follows `dermabatch` in consoles and in code, up to a pipe or an end of the sentence."""
    shown = [*re.findall(r"^\$ (.+)$", text, re.M), *code(re.sub(r"```.+?```", "", text, flags=re.S))]
    for line in shown:
        if found := re.search(r"(?:^|/| )dermabatch ([a-z].*)", line):
            yield shlex.split(re.split(r" [|&<>]+ ", found[1])[0])


def _walk(words: list[str]) -> None:
    command: click.Command = dermabatch
    names = iter(words)
    while isinstance(command, click.Group):
        name = next(names, None)
        if name is None or name.startswith("-"):
            return
        found = command.get_command(click.Context(command), name)
        assert found is not None, f"there is no command {name} in: dermabatch {' '.join(words)}"
        command = found
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    unknown = [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]
    assert unknown == [], f"dermabatch {' '.join(words)}"


def test_every_service_of_compose_is_described_to_operators():
    services = yaml.safe_load(page("docker-compose.yml"))["services"]
    assert set(table(page("docs/operators.md"), "Install with Docker Compose")) >= set(services)


def test_the_readme_keeps_the_two_commands_and_the_notice():
    text = page("README.md")
    assert "$ make demo" in text
    assert "$ make test" in text
    assert "Assistive use only. Not a medical device. A clinician decides." in text
