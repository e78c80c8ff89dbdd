"""The table names every route, command and task there is, and nothing else."""

import ast
import inspect
import textwrap
from threading import Event

import click

from cli.main import dermabatch
from dermabatch.queue import create_app
from tests.integration.events.table import COMMANDS, ROUTES, SCHEDULED, TASKS
from webui.policy import POLICY
from worker.scheduler import Sweeper
from worker.tasks import register


def test_every_route_has_a_line(house):
    assert set(ROUTES) == set(house.app.view_functions)
    assert set(ROUTES) == set(POLICY)


def test_every_command_has_a_line():
    assert set(COMMANDS) == set(_commands(dermabatch))


def test_every_task_has_a_line(house):
    app = create_app(house.settings)
    register(app, pipeline=None, stopping=Event())
    assert set(TASKS) == {name for name in app.tasks if not name.startswith("celery.")}


def test_everything_that_the_scheduler_does_has_a_line():
    assert set(SCHEDULED) == _calls_of(Sweeper.sweep)


def _commands(group: click.Group, *before: str):
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        words = (*before, name)
        if isinstance(command, click.Group):
            yield from _commands(command, *words)
        else:
            yield " ".join(words)


def _calls_of(function) -> set[str]:
    """What a function calls, but for libraries: `self.f()` and `f()`, not `time.f()`."""
    calls = [
        node.func
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function))))
        if isinstance(node, ast.Call)
    ]
    plain = {call.id for call in calls if isinstance(call, ast.Name)}
    own = {
        call.attr
        for call in calls
        if isinstance(call, ast.Attribute) and isinstance(call.value, ast.Name) and call.value.id == "self"
    }
    return (plain | own) - {"str"}
