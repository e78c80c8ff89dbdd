"""One image: its result, its thumbnail, its heat map."""

from typing import Any
from uuid import UUID

from flask import Response

from dermabatch import results
from dermabatch.accounts import Scope
from dermabatch.audit import Action
from dermabatch.derived import Derived, read_derived
from dermabatch.errors import ErasedSubject, NotFound
from dermabatch.saliency import heat_map as draw_heat_map
from dermabatch.schema import Prediction
from dermabatch.subjects import data_key
from dermabatch.taxonomy import CLASSES
from webui.api import schemas
from webui.api.access import department_session, needs, note, resource
from webui.portal import portal

blueprint = resource("Images", "/images/<uuid:image_id>", "Single images")


@blueprint.get("")
@blueprint.response(200, schemas.Result)
@needs(blueprint, Scope.BATCHES_READ)
def show(image_id: UUID) -> dict[str, Any]:
    """Everything known of one image."""
    with department_session() as session:
        result = results.find_result(session, image_id, keyring=portal().keyring)
        note(session, Action.IMAGE_VIEW, thing=("image", image_id))
    return results.record(result)


@blueprint.get("/thumbnail")
@blueprint.response(200, content_type="image/jpeg")
@needs(blueprint, Scope.BATCHES_READ)
def thumbnail(image_id: UUID) -> Response:
    """The picture at 96 pixels, as the worker left it."""
    _, derived = _viewed(image_id, "thumbnail")
    return Response(derived.thumbnail, mimetype="image/jpeg")


@blueprint.get("/heatmap")
@blueprint.arguments(schemas.HeatMapQuery, location="query", as_kwargs=True)
@blueprint.response(200, content_type="image/png")
@needs(blueprint, Scope.BATCHES_READ)
def heat_map(image_id: UUID, class_: str | None) -> Response:
    """Where the model looked for one class: a see-through PNG to be stretched over the picture."""
    prediction, derived = _viewed(image_id, "heat map")
    place = CLASSES.index(class_ or prediction.predicted_class)
    return Response(draw_heat_map(derived.saliency[..., place]), mimetype="image/png")


def _viewed(image_id: UUID, what: str) -> tuple[Prediction, Derived]:
    with department_session() as session:
        result = results.find_result(session, image_id, keyring=portal().keyring)
        if result.erased:
            raise ErasedSubject("The patient of this image was erased: nothing of it is shown any more")
        prediction = result.prediction
        if prediction is None:
            raise NotFound(f"There is no {what} of {image_id}: it has no prediction")
        key = data_key(portal().keyring, result.image)
        note(session, Action.IMAGE_VIEW, thing=("image", image_id), details={"shown": what})
    packed = portal().store.get(prediction.derived_key)
    return prediction, read_derived(packed, prediction.derived_index, key=key, image_id=image_id)
