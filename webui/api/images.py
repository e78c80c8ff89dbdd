"""One image: its result, its thumbnail, its heat map."""

from typing import Any
from uuid import UUID

from flask import Response

from dermabatch import results
from dermabatch.audit import Action
from dermabatch.derived import Derived, read_derived
from dermabatch.errors import ErasedSubject, NotFound
from dermabatch.saliency import heat_map as draw_heat_map
from dermabatch.schema import Prediction
from dermabatch.subjects import data_key
from dermabatch.taxonomy import CLASSES
from webui import pictures
from webui.api import schemas
from webui.api.access import department_session, note, resource
from webui.portal import portal

blueprint = resource("Images", "/images/<uuid:image_id>", "Single images")


@blueprint.get("")
@blueprint.response(200, schemas.Result)
def show(image_id: UUID) -> dict[str, Any]:
    """Everything known of one image."""
    with department_session() as session:
        result = results.find_result(session, image_id, keyring=portal().keyring)
        note(session, Action.IMAGE_VIEW, thing=("image", image_id))
    return results.record(result)


@blueprint.get("/thumbnail")
@blueprint.response(200, content_type="image/jpeg")
def thumbnail(image_id: UUID) -> Response:
    """The picture at 96 pixels, as the worker left it."""
    _, derived = _viewed(image_id, "thumbnail")
    return pictures.answer(derived.thumbnail, "image/jpeg", f"thumbnail-{image_id}.jpg")


@blueprint.get("/heatmap")
@blueprint.arguments(schemas.HeatMapQuery, location="query", as_kwargs=True)
@blueprint.response(200, content_type="image/png")
def heat_map(image_id: UUID, class_: str | None) -> Response:
    """Where the model looked for one class: a see-through PNG to be stretched over the picture."""
    prediction, derived = _viewed(image_id, "heat map")
    shown = class_ or prediction.predicted_class
    drawn = draw_heat_map(derived.saliency[..., CLASSES.index(shown)])
    return pictures.answer(drawn, "image/png", f"heat-map-{image_id}-{shown}.png")


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
