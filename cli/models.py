"""`dermabatch models`: the registry of models."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sqlalchemy.orm import Session

from cli.acting import AS_JSON, acting_user, actor_of, connected, note_reading, person, print_json
from cli.comparing import Comparison, comparison_options
from cli.comparing import show as show_gate
from cli.publishing import fetched, report_published
from dermabatch import model_store
from dermabatch.accounts import ADMINISTRATOR
from dermabatch.audit import Action
from dermabatch.errors import ConfigurationError, InvalidRequest
from dermabatch.objects import S3ObjectStore
from dermabatch.schema import Activation, Model
from dermabatch.settings import Settings
from training.split import Side

_DIGEST: Final = click.argument("digest")
_TIME: Final = click.DateTime(("%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"))
_ADMINISTRATOR: Final = acting_user(required=True, help="The administrator who decides.")


@click.group()
def models() -> None:
    """List, compare and activate models. A digest may be shortened to its first characters."""


@models.command("list")
@AS_JSON
def list_models(as_json: bool) -> None:
    """Show every published model, newest first."""
    with connected() as (_, sessions), sessions.begin() as session:
        found = [_described(model) for model in model_store.list_models(session)]
        _note_reading(session, *found)
    if as_json:
        print_json({"models": found})
        return
    table = Table("digest", "name", "state", "published", "by", "BMA", box=None)
    for model in found:
        published = model["published_at"][:16].replace("T", " ")
        bma = f"{model['metrics']['bma']:.3f}"
        table.add_row(
            model["digest"][:12], model["name"], model["state"], published, model["published_by"], bma
        )
    Console().print(table)


@models.command()
@_DIGEST
@AS_JSON
def show(digest: str, as_json: bool) -> None:
    """Show one model: what it is, how good it is, and when it served."""
    with connected() as (_, sessions), sessions.begin() as session:
        model = model_store.find_model(session, digest)
        activations = model_store.list_activations(session, model.digest)
        note_reading(session, Action.MODEL_VIEW, thing=("model", model.digest))
    described = {
        **_described(model),
        "activations": [_described_activation(activation) for activation in activations],
        "manifest": model.manifest,
    }
    if as_json:
        print_json(described)
        return
    table = Table(box=None, show_header=False)
    for name in ("digest", "name", "state", "published_at", "published_by"):
        table.add_row(name, escape(described[name]))
    table.add_row("gate", escape(_gate_sentence(model.gate)))
    for name, value in described["metrics"].items():
        table.add_row(name, _number(value))
    for activation in described["activations"]:
        table.add_row("active since", f"{activation['activated_at']} by {escape(activation['activated_by'])}")
    Console().print(table)


@models.command()
@click.argument("digests", metavar="DIGEST DIGEST...", nargs=-1, required=True)
@comparison_options
@AS_JSON
def compare(
    digests: tuple[str, ...],
    data: Path | None,
    split: Path | None,
    side: str,
    other_split: bool,
    as_json: bool,
) -> None:
    """Put the metrics of models side by side; with --data and --split measure two of them on the same images.

    What is measured is what the gate of `dermabatch publish` asks, with the first model as the candidate. Nothing
    changes.
    """
    comparison = Comparison(data, split, Side(side), other_split)
    with connected() as (settings, sessions):
        with sessions.begin() as session:
            found = [_described(model_store.find_model(session, digest)) for digest in digests]
            _note_reading(session, *found)
        if comparison.is_wanted:
            _measure(found, comparison, settings, as_json)
        else:
            _show_metrics(found, as_json)


def _measure(
    found: Sequence[dict[str, Any]], comparison: Comparison, settings: Settings, as_json: bool
) -> None:
    if len(found) != 2:
        raise InvalidRequest(f"Expected two models to measure. Received: {len(found)}")
    store = S3ObjectStore.from_settings(settings)
    first, second = (fetched(model["digest"], settings=settings, store=store) for model in found)
    with first as candidate, second as active:
        gate = comparison.run(candidate, active)
    if as_json:
        print_json(gate.as_json())
        return
    show_gate(gate, (found[0]["name"], found[1]["name"]))
    click.echo(gate.verdict())


def _show_metrics(found: Sequence[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print_json({"models": found})
        return
    table = Table("", *(f"{model['name']}\n{model['digest'][:12]}" for model in found), box=None)
    for metric in found[0]["metrics"]:
        table.add_row(metric, *(_number(model["metrics"].get(metric)) for model in found))
    Console().print(table)


@models.command("publish-shipped")
@AS_JSON
def publish_shipped(as_json: bool) -> None:
    """Register the model of this release as a candidate, so that any administrator may activate it. Safe to repeat."""
    with connected() as (settings, sessions):
        model = model_store.publish_shipped(
            sessions=sessions,
            store=S3ObjectStore.from_settings(settings),
            signing_key=_signing_key(settings),
        )
    report_published(model, None, as_json=as_json)


@models.command()
@_DIGEST
@_ADMINISTRATOR
@AS_JSON
def activate(digest: str, email: str, as_json: bool) -> None:
    """Let a model serve from the next claim on. Whoever published it cannot."""
    with connected() as (_, sessions):
        with sessions.begin() as session:
            actor = actor_of(person(session, email, ADMINISTRATOR))
            digest = model_store.find_model(session, digest).digest
        activation = model_store.activate(digest, actor=actor, sessions=sessions)
    _report(activation, as_json)


@models.command()
@_ADMINISTRATOR
@AS_JSON
def rollback(email: str, as_json: bool) -> None:
    """Return to the model that served before the present one."""
    with connected() as (_, sessions):
        with sessions.begin() as session:
            actor = actor_of(person(session, email, ADMINISTRATOR))
        activation = model_store.rollback(actor=actor, sessions=sessions)
    _report(activation, as_json)


@models.command("served-at")
@click.argument("time", type=_TIME)
@AS_JSON
def served_at(time: datetime, as_json: bool) -> None:
    """Say which model served at a moment, in UTC."""
    with connected() as (_, sessions), sessions.begin() as session:
        activation = model_store.served_at(session, time.replace(tzinfo=UTC))
        described = activation and _described_activation(activation)
        thing = ("model", activation.model_digest) if activation else None
        note_reading(session, Action.MODEL_VIEW, thing=thing, details={"served_at": time.isoformat()})
    if as_json:
        print_json({"time": time.replace(tzinfo=UTC).isoformat(), "served": described})
    elif described:
        click.echo("{model_digest} since {activated_at}, activated by {activated_by}".format(**described))
    else:
        click.echo("No model served at that time.")


def _note_reading(session: Session, *shown: dict[str, Any]) -> None:
    note_reading(session, Action.MODEL_VIEW, details={"list": [model["digest"] for model in shown]})


def _signing_key(settings: Settings) -> bytes:
    if settings.signing_key is None:
        raise ConfigurationError("Publishing needs DERMABATCH_SIGNING_KEY, which is not set.")
    return settings.signing_key


def _described(model: Model) -> dict[str, Any]:
    return {
        "digest": model.digest,
        "name": model.name,
        "state": model.state.value,
        "published_at": model.published_at.isoformat(),
        "published_by": model.publisher.email,
        "gate": model.gate,
        "metrics": model.manifest["metrics"],
    }


def _described_activation(activation: Activation) -> dict[str, Any]:
    return {
        "model_digest": activation.model_digest,
        "activated_at": activation.activated_at.isoformat(),
        "activated_by": activation.activator.email,
        "returned": activation.returned,
    }


def _gate_sentence(gate: dict[str, Any] | None) -> str:
    if gate is None:
        return "not compared"
    failed = [check["finding"] for check in gate["checks"] if not check["passed"]]
    images = f"against {gate['active'][:12]} on {gate['images']} images"
    return f"failed {images}: {'; '.join(failed)}" if failed else f"passed {images}"


def _number(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " to ".join(_number(part) for part in value)
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _report(activation: Activation, as_json: bool) -> None:
    described = _described_activation(activation)
    if as_json:
        print_json(described)
    else:
        click.echo("{model_digest} serves from the next claim on.".format(**described))
