"""`dermabatch models`: the registry of models."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.acting import AS_JSON, acting_user, actor_of, connected, person, print_json
from dermabatch import model_store
from dermabatch.accounts import ADMINISTRATOR
from dermabatch.database import Sessions
from dermabatch.errors import ConfigurationError
from dermabatch.objects import S3ObjectStore
from dermabatch.schema import Activation, Model
from dermabatch.settings import Settings

_DIGEST: Final = click.argument("digest")
_TIME: Final = click.DateTime(("%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"))
_ADMINISTRATOR: Final = acting_user(required=True, help="The administrator who decides.")


@click.group()
def models() -> None:
    """List, compare, publish and activate models. A digest may be shortened to its first characters."""


@models.command("list")
@AS_JSON
def list_models(as_json: bool) -> None:
    """Show every published model, newest first."""
    with connected() as (_, sessions), sessions.begin() as session:
        found = [_described(model) for model in model_store.list_models(session)]
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
    for name, value in described["metrics"].items():
        table.add_row(name, _number(value))
    for activation in described["activations"]:
        table.add_row("active since", f"{activation['activated_at']} by {escape(activation['activated_by'])}")
    Console().print(table)


@models.command()
@click.argument("digests", metavar="DIGEST DIGEST...", nargs=-1, required=True)
@AS_JSON
def compare(digests: tuple[str, ...], as_json: bool) -> None:
    """Put the metrics of models side by side."""
    with connected() as (_, sessions), sessions.begin() as session:
        found = [_described(model_store.find_model(session, digest)) for digest in digests]
    if as_json:
        print_json({"models": found})
        return
    table = Table("", *(f"{model['name']}\n{model['digest'][:12]}" for model in found), box=None)
    for metric in found[0]["metrics"]:
        table.add_row(metric, *(_number(model["metrics"].get(metric)) for model in found))
    Console().print(table)


@models.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@acting_user(required=True, help="Who publishes; somebody else activates.")
@AS_JSON
def publish(folder: Path, email: str, as_json: bool) -> None:
    """Sign a model artifact with the installation's key and register it as a candidate."""
    with connected() as (settings, sessions):
        signing_key = _signing_key(settings)
        with sessions.begin() as session:
            publisher = actor_of(person(session, email))
        model = model_store.publish(
            folder,
            publisher=publisher,
            sessions=sessions,
            store=S3ObjectStore.from_settings(settings),
            signing_key=signing_key,
        )
        _report_published(sessions, model.digest, as_json)


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
        _report_published(sessions, model.digest, as_json)


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
    if as_json:
        print_json({"time": time.replace(tzinfo=UTC).isoformat(), "served": described})
    elif described:
        click.echo("{model_digest} since {activated_at}, activated by {activated_by}".format(**described))
    else:
        click.echo("No model served at that time.")


def _signing_key(settings: Settings) -> bytes:
    if settings.signing_key is None:
        raise ConfigurationError("Publishing needs DERMABATCH_SIGNING_KEY, which is not set.")
    return settings.signing_key


def _report_published(sessions: Sessions, digest: str, as_json: bool) -> None:
    with sessions.begin() as session:
        described = _described(model_store.find_model(session, digest))
    if as_json:
        print_json(described)
    else:
        click.echo("{name} is published as {digest} and is {state}.".format(**described))


def _described(model: Model) -> dict[str, Any]:
    return {
        "digest": model.digest,
        "name": model.name,
        "state": model.state.value,
        "published_at": model.published_at.isoformat(),
        "published_by": model.publisher.email,
        "metrics": model.manifest["metrics"],
    }


def _described_activation(activation: Activation) -> dict[str, Any]:
    return {
        "model_digest": activation.model_digest,
        "activated_at": activation.activated_at.isoformat(),
        "activated_by": activation.activator.email,
        "returned": activation.returned,
    }


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
