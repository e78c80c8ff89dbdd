"""Models: which serves, which could, and who let which one serve when."""

from datetime import UTC, datetime

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from dermabatch import model_store
from dermabatch.audit import Action
from webui.access import person
from webui.audited import actor_of, note
from webui.cards import card_of
from webui.portal import portal

blueprint = Blueprint("models", __name__, url_prefix="/models")


@blueprint.get("")
def index() -> str:
    """The active model, the others, and the history of activations."""
    moment = _moment(request.args.get("at"))
    with portal().sessions.begin() as session:
        models = model_store.list_models(session)
        activations = model_store.list_activations(session)
        served = model_store.served_at(session, moment) if moment else None
        note(
            session, Action.MODEL_VIEW, person=person(), details={"list": [model.digest for model in models]}
        )
    return render_template(
        "models.html", models=models, activations=activations, moment=moment, served=served
    )


@blueprint.get("/<digest>")
def show(digest: str) -> str:
    """One model: its card, its metrics and what may be done with it."""
    with portal().sessions.begin() as session:
        model = model_store.find_model(session, digest)
        activations = model_store.list_activations(session, model.digest)
        serving = model_store.active_model(session)
        note(session, Action.MODEL_VIEW, person=person(), thing=("model", model.digest))
    return render_template(
        "model.html",
        model=model,
        manifest=model.manifest,
        activations=activations,
        serving=serving,
        card=card_of(model, portal().store),
    )


@blueprint.post("/<digest>/activate")
def activate(digest: str) -> ResponseReturnValue:
    """Let this model serve from the next claim on."""
    model_store.activate(digest, actor=actor_of(person()), sessions=portal().sessions)
    return redirect(url_for("models.show", digest=digest))


@blueprint.post("/roll-back")
def roll_back() -> ResponseReturnValue:
    """Return to the model that served before."""
    activation = model_store.rollback(actor=actor_of(person()), sessions=portal().sessions)
    return redirect(url_for("models.show", digest=activation.model_digest))


def _moment(text: str | None) -> datetime | None:
    """What a date-and-time field sends, taken for UTC; None for anything else."""
    try:
        return datetime.fromisoformat(text or "").replace(tzinfo=UTC)
    except ValueError:
        return None
