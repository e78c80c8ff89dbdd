"""Models: which serves, which could, and activating one."""

from typing import Any

from sqlalchemy.orm import Session

from dermabatch import model_store
from dermabatch.audit import Action
from dermabatch.errors import NotFound
from dermabatch.schema import Activation, Model
from webui.api import schemas
from webui.api.access import actor, department_session, note, resource
from webui.portal import portal

blueprint = resource("Models", "/models", "The registry of models")


@blueprint.get("")
@blueprint.response(200, schemas.Models)
def index() -> dict[str, Any]:
    """Every published model, newest first."""
    with department_session() as session:
        models = model_store.list_models(session)
        note(session, Action.MODEL_VIEW, details={"list": [model.digest for model in models]})
    return {"models": models}


@blueprint.get("/active")
@blueprint.response(200, schemas.ModelDetail)
def active() -> Model:
    """The model that serves new work."""
    with department_session() as session:
        model = model_store.active_model(session)
        if model is None:
            raise NotFound("No model has been activated yet")
        return _viewed(session, model)


@blueprint.get("/<digest>")
@blueprint.response(200, schemas.ModelDetail)
def show(digest: str) -> Model:
    """One model, by its digest or the first six characters of it."""
    with department_session() as session:
        return _viewed(session, model_store.find_model(session, digest))


@blueprint.post("/<digest>/activate")
@blueprint.response(200, schemas.Activation)
def activate(digest: str) -> Activation:
    """Let a model serve from the next claim on. Whoever published it cannot."""
    return model_store.activate(digest, actor=actor(), sessions=portal().sessions)


@blueprint.post("/roll-back")
@blueprint.response(200, schemas.Activation)
def roll_back() -> Activation:
    """Return to the model that served before."""
    return model_store.rollback(actor=actor(), sessions=portal().sessions)


def _viewed(session: Session, model: Model) -> Model:
    note(session, Action.MODEL_VIEW, thing=("model", model.digest))
    return model
