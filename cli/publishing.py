"""`dermabatch publish`: an artifact goes through the gate, is signed, and waits for a second person."""

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from cli.acting import AS_JSON, SOURCE, acting_user, answering_for, print_json
from cli.comparing import Comparison, comparison_options, show
from dermabatch import accounts, model_store
from dermabatch.artifacts import Artifact, read_artifact
from dermabatch.audit import Actor
from dermabatch.database import Sessions, connect
from dermabatch.errors import ConfigurationError, Conflict, InvalidRequest
from dermabatch.gate import Gate
from dermabatch.lifecycle import ModelState
from dermabatch.objects import ObjectStore, S3ObjectStore
from dermabatch.schema import Model
from dermabatch.settings import RegistrySettings, load_registry_settings
from training.split import Side

Judge = Callable[[Artifact, Artifact], Gate]
"""Compares a candidate with the active model."""


@dataclass(frozen=True, slots=True)
class Publisher:
    """Publishes in the name of one user."""

    settings: RegistrySettings
    signing_key: bytes
    sessions: Sessions
    store: ObjectStore
    actor: Actor

    def judge(self, folder: Path, judge: Judge) -> Gate | None:
        """How the artifact in `folder` compares with the active model; None where no model is active.

        Raises:
            Conflict: it is the active model.
            ArtifactRefused: it, or what the storage holds of the active one, fails a check.
        """
        active = self.active_digest()
        if active is None:
            return None
        candidate = read_artifact(folder, expected_digest=None, verify_key=None)
        if candidate.digest == active:
            raise Conflict(f"Expected another model than the active one. Received: {active}")
        with fetched(active, settings=self.settings, store=self.store) as serving:
            return judge(candidate, serving)

    def publish(self, folder: Path, gate: Gate | None) -> Model:
        """See `model_store.publish`."""
        return model_store.publish(
            folder,
            publisher=self.actor,
            sessions=self.sessions,
            store=self.store,
            signing_key=self.signing_key,
            gate=gate,
        )

    def active_digest(self) -> str | None:
        """Of the model that serves."""
        with self.sessions.begin() as session:
            return model_store.active_digest(session)


@contextmanager
def publisher(email: str) -> Iterator[Publisher]:
    """Everything that publishing needs, found before anybody spends hours on training.

    Raises:
        ConfigurationError: a setting is missing.
        NotFound, NotAllowed: there is no such active user.
        ServiceUnavailable: the database or the storage does not answer.
    """
    settings = load_registry_settings()
    if settings.signing_key is None:
        raise ConfigurationError("Publishing needs DERMABATCH_SIGNING_KEY, which is not set.")
    with closing(connect(settings.database_url.get_secret_value())) as sessions, answering_for(sessions):
        with sessions.begin() as session:
            actor = accounts.find_actor(session, email, source=SOURCE)
        store = S3ObjectStore.from_settings(settings)
        store.exists("models/")
        yield Publisher(settings, settings.signing_key, sessions, store, actor)


@contextmanager
def fetched(digest: str, *, settings: RegistrySettings, store: ObjectStore) -> Iterator[Artifact]:
    """A verified copy of a published model, for as long as the block lasts."""
    with tempfile.TemporaryDirectory() as cache:
        yield model_store.fetch(
            digest,
            store=store,
            cache=Path(cache),
            verify_key=settings.verify_key,
            retired_keys=settings.retired_verify_keys,
        )


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@comparison_options
@click.option(
    "--not-compared",
    is_flag=True,
    help="Publish without the gate; whoever activates sees that it was not asked.",
)
@acting_user(required=True, help="Who publishes; somebody else activates.")
@AS_JSON
def publish(
    folder: Path,
    data: Path | None,
    split: Path | None,
    side: str,
    other_split: bool,
    not_compared: bool,
    email: str,
    as_json: bool,
) -> None:
    """Sign the model artifact in FOLDER and register it as a candidate, or as rejected where it fails the gate.

    The gate compares it with the active model on held-out images, which --data and --split name. Nothing is activated.
    Ends with 1 where the model is rejected.
    """
    comparison = Comparison(data, split, Side(side), other_split)
    with publisher(email) as publishing:
        if comparison.is_wanted:
            gate = publishing.judge(folder, comparison.run)
        elif not_compared or publishing.active_digest() is None:
            gate = None
        else:
            raise InvalidRequest(
                "A model is active. Give --data and --split, on which the new one is compared with it, or"
                " --not-compared."
            )
        model = publishing.publish(folder, gate)
    report_published(model, gate, as_json=as_json)


def publish_trained(folder: Path, data: Path, split: Path, publishing: Publisher) -> None:
    """Publish what `dermabatch train` has just written to `folder`, judged on the test side of its own split.

    The active model may come from another split. That can only favour it, which the result says.
    """
    comparison = Comparison(data, split, Side.TEST, other_split=True)
    gate = publishing.judge(folder, comparison.run)
    report_published(publishing.publish(folder, gate), gate, as_json=False)


def report_published(model: Model, gate: Gate | None, *, as_json: bool) -> None:
    """Say what became of a model; ends the program with 1 where it is rejected."""
    if as_json:
        print_json(_described(model))
    else:
        if gate is not None:
            show(gate)
            click.echo(gate.verdict())
        click.echo(f"{model.name} is published as {model.digest} and is {model.state}.")
        if model.gate is None:
            click.echo("It was not compared with another model.")
        elif gate is None:
            click.echo("An earlier run of the gate stands.")
    if model.state is ModelState.REJECTED:
        sys.exit(1)


def _described(model: Model) -> dict[str, Any]:
    return {
        "digest": model.digest,
        "name": model.name,
        "state": model.state.value,
        "published_at": model.published_at.isoformat(),
        "gate": model.gate,
    }
