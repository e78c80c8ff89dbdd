"""One image: the picture, what the model says of it and why, and where it comes from."""

from uuid import UUID

from flask import Blueprint, Response, abort, render_template, request
from sqlalchemy.orm import Session

from dermabatch import results
from dermabatch.audit import Action
from dermabatch.derived import Derived, read_derived
from dermabatch.errors import ErasedSubject
from dermabatch.packs import open_sealed
from dermabatch.results import Neighbours
from dermabatch.saliency import heat_map as draw_heat_map
from dermabatch.schema import Image, Pack
from dermabatch.subjects import data_key
from dermabatch.taxonomy import CLASSES
from webui import pictures, tickets
from webui.access import department_session, person
from webui.audited import note
from webui.narrowing import Narrowing
from webui.portal import portal

blueprint = Blueprint("images", __name__, url_prefix="/images/<uuid:image_id>")

LONGEST_EDGE = 1600
"""Pixels: sharp on a large screen at double zoom, and small enough for a slow line."""


@blueprint.get("")
def show(image_id: UUID) -> str:
    """Everything known of one image."""
    narrowing = Narrowing.of_reader(request.args)
    with department_session() as session:
        result = results.find_result(session, image_id, keyring=portal().keyring)
        image = result.image
        beside = _neighbours(session, image, narrowing)
        others = (
            [other for other in results.images_of_lesion(session, image.lesion_id) if other.id != image.id]
            if image.lesion_id
            else []
        )
        model = image.prediction.model if image.prediction else None
        note(
            session,
            Action.IMAGE_VIEW,
            person=person(),
            thing=("image", image_id),
            details={"shown_of_lesion": [str(other.id) for other in others]},
        )
    return render_template(
        "image.html",
        result=result,
        image=image,
        prediction=image.prediction,
        model=model,
        others=others,
        beside=beside,
        narrowing=narrowing,
    )


@blueprint.get("/picture.jpg")
def picture(image_id: UUID) -> Response:
    """The picture, decoded in the sandbox and encoded anew."""
    with department_session() as session:
        image = _promised(session, image_id)
        key = data_key(portal().keyring, image)
        pack = session.get(Pack, image.pack_id)
    if pack is None or image.pack_offset is None or image.pack_length is None:
        abort(404)  # it was left out and never stored
    sealed = portal().store.get_range(pack.object_key, image.pack_offset, image.pack_length)
    shown = portal().decoders.render(open_sealed(sealed, key, image.id), image.orientation, LONGEST_EDGE)
    return _kept_for_a_while(pictures.answer(shown, "image/jpeg", f"image-{image_id}.jpg"))


@blueprint.get("/thumbnail.jpg")
def thumbnail(image_id: UUID) -> Response:
    """96 pixels, as the worker left it."""
    shown = _derived(image_id).thumbnail
    return _kept_for_a_while(pictures.answer(shown, "image/jpeg", f"thumbnail-{image_id}.jpg"))


@blueprint.get("/heat-map.png")
def heat_map(image_id: UUID) -> Response:
    """Where the model looked for one class, to lie over the picture."""
    wanted = request.args.get("class")
    if wanted not in CLASSES:
        abort(404)
    grid = _derived(image_id).saliency[..., CLASSES.index(wanted)]
    shown = draw_heat_map(grid)
    return _kept_for_a_while(pictures.answer(shown, "image/png", f"heat-map-{image_id}-{wanted}.png"))


def _neighbours(session: Session, image: Image, narrowing: Narrowing) -> Neighbours | None:
    return results.neighbours(
        session, image, since=narrowing.since, states=narrowing.states, **narrowing.criteria()
    )


def _promised(session: Session, image_id: UUID) -> Image:
    """The image, if a page of this sign-in showed it and its patient was not erased since."""
    if not tickets.is_valid(request.args.get("ticket", ""), image_id):
        abort(404)
    result = results.find_result(session, image_id, keyring=portal().keyring)
    if result.erased:
        raise ErasedSubject("The patient of this image was erased: nothing of it is shown any more.")
    return result.image


def _derived(image_id: UUID) -> Derived:
    with department_session() as session:
        image = _promised(session, image_id)
        if image.prediction is None:
            abort(404)
        key = data_key(portal().keyring, image)
        prediction = image.prediction
    packed = portal().derived_object(prediction.derived_key)
    return read_derived(packed, prediction.derived_index, key=key, image_id=image_id)


def _kept_for_a_while(answer: Response) -> Response:
    # A watched page shows the same thumbnails again every few seconds. No shared cache, and not for long.
    answer.headers["Cache-Control"] = "private, max-age=300"
    return answer
