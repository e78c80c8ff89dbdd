"""`dermabatch screen`: an archive is taken in and classified, or stored images are shown to another model."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from threading import Event
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cli.acting import AS_JSON, acting_user, actor_of, connected, person, print_json
from dermabatch import model_store
from dermabatch.accounts import STAFF
from dermabatch.errors import InvalidRequest
from dermabatch.schema import User
from dermabatch.screening.attempt import Means
from dermabatch.screening.attempt import Progress as HowFar
from dermabatch.screening.counting import RunReport
from dermabatch.screening.rescoring import Comparison, compare, rescore
from dermabatch.screening.runs import Wish
from dermabatch.screening.screening import screen as screen_source
from dermabatch.screening.sources import Source, open_source
from dermabatch.screening.tables import SourceKind

_STORED: Final = "everything that is stored"


@click.command()
@click.argument("source", required=False)
@click.option(
    "--model",
    "model_id",
    metavar="DIGEST",
    help="Screen with this model, such as a candidate, or its first six characters.  [default: the active one]",
)
@click.option("--rescore", "rescoring", is_flag=True, help="Show stored images that only other models saw.")
@click.option("--budget", type=click.IntRange(1), help="Take in this many images at most.")
@acting_user(required=True, help="Who screens; a member of staff.")
@AS_JSON
def screen(
    source: str | None,
    model_id: str | None,
    rescoring: bool,
    budget: int | None,
    email: str,
    as_json: bool,
) -> None:
    """Take in and classify every image of SOURCE that is new: a folder, s3://BUCKET/PREFIX, or
    dicomweb+https://HOST/PATH?QUERY.

    What was screened before is skipped, by its content. Stop it as you like: the same command goes on. With --rescore
    nothing is taken in; the answer says which stored images another model puts on another level.
    """
    if (source is None) is not rescoring:
        raise InvalidRequest("Expected a SOURCE, or --rescore instead of it.")
    with connected() as (settings, sessions), ExitStack() as stack:
        with sessions.begin() as session:
            user = person(session, email, STAFF)
            model = model_store.find_model(session, model_id).digest if model_id else None
        opened = stack.enter_context(closing(open_source(source, settings))) if source else None
        means = Means.open(settings, sessions, stack)
        stop = stack.enter_context(_stopped_by_signals())
        tell = stack.enter_context(_shown(Console(stderr=True, quiet=as_json)))
        wish = _wish(opened, user, model, budget)
        comparison = None
        if opened is None:
            report = rescore(wish, means=means, actor=actor_of(user), stop=stop, tell=tell)
        else:
            found = screen_source(opened, wish, means=means, actor=actor_of(user), stop=stop, tell=tell)
            assert found is not None  # only scheduled ones may be done already
            report = found
        if report.files.rescored:
            with sessions.begin(department=user.department_id) as session:
                comparison = compare(session, report.run_id)
    _report(report, comparison, as_json)


def _wish(source: Source | None, user: User, model: str | None, budget: int | None) -> Wish:
    return Wish(
        source=source.kind if source else SourceKind.STORED,
        identity=source.identity if source else _STORED,
        department_id=user.department_id,
        started_by=user.id,
        model=model,
        image_budget=budget,
    )


@contextmanager
def _stopped_by_signals() -> Iterator[Event]:
    """The first Ctrl-C or SIGTERM lets it end in order; a second Ctrl-C ends it at once, which loses nothing either."""
    stop = Event()

    def first(number: int, _frame: object) -> None:
        stop.set()
        signal.signal(number, former[signal.Signals(number)])

    former = {number: signal.signal(number, first) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@contextmanager
def _shown(console: Console) -> Iterator[Any]:
    """A bar: how many were listed and taken in, how fast, and, once the list is at its end, how long it takes yet."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[counted]}"),
        TimeElapsedColumn(),
        TextColumn("time left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("Taking in", total=None, counted="")
        most = 0

        def tell(far: HowFar) -> None:
            nonlocal most
            elapsed = max(bar.tasks[0].elapsed or 0.0, 0.1)
            if far.outstanding is None:
                counted = f"{far.listed} listed, {far.taken_in} taken in, {far.listed / elapsed:.0f} files/s"
                bar.update(task, counted=counted)
                return
            if most == 0:
                most = far.outstanding
                bar.reset(task, description="Classifying", total=most)
            speed = bar.tasks[0].finished_speed or bar.tasks[0].speed or 0.0
            counted = f"{far.outstanding} images wait, {speed:.0f} images/s"
            bar.update(task, completed=most - far.outstanding, counted=counted)

        yield tell


def _report(report: RunReport, comparison: Comparison | None, as_json: bool) -> None:
    if as_json:
        answer = report.as_json()
        if comparison is not None:
            answer["rescoring"] = comparison.as_json()
        print_json(answer)
        return
    click.echo(f"Screening {report.run_id}: {report.files.line()}")
    if report.cut_short:
        click.echo(f"Cut short by its {report.cut_short}: the next screening takes the rest in")
    for reason, count in report.reasons.items():
        click.echo(f"  {count} {reason}")
    levels = ", ".join(
        f"{count} {level.replace('_', ' ')}" for level, count in report.triage.items() if count
    )
    click.echo(f"Findings: {levels or 'none'}")
    if comparison is not None:
        _report_changes(comparison)


def _report_changes(comparison: Comparison) -> None:
    told = comparison.as_json()
    click.echo(
        f"Shown to this model again: {comparison.images}, of which {told['changed']} change their level"
    )
    for (before, after), count in sorted(comparison.levels.items()):
        if before != after:
            click.echo(f"  {count} from {before.replace('_', ' ')} to {after.replace('_', ' ')}")
