"""One image: the picture, what the model says of it and why, and where it comes from."""

from uuid import UUID

from flask import Blueprint, Response, abort, make_response, render_template, request
from sqlalchemy.orm import Session

from dermabatch import results
from dermabatch.accounts import STAFF
from dermabatch.audit import Action
from dermabatch.derived import read_derived
from dermabatch.packs import open_sealed
from dermabatch.results import Neighbours, Result
from dermabatch.saliency import heat_map as draw_heat_map
from dermabatch.schema import Image, Pack
from dermabatch.subjects import data_key
from dermabatch.taxonomy import CLASSES
from webui import tickets
from webui.access import department_session, only_for, person
from webui.audited import note
from webui.narrowing import Narrowing
from webui.portal import portal
from webui.security import PICTURE_POLICY, talisman

blueprint = Blueprint("images", __name__, url_prefix="/images/<uuid:image_id>")
only_for(blueprint, STAFF)

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
        others = [
            other for other in results.images_of_lesion(session, image.lesion_id) if other.id != image.id
        ] if image.lesion_id else []
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
@talisman(content_security_policy=PICTURE_POLICY)
def picture(image_id: UUID) -> Response:
    """The picture, decoded in the sandbox and encoded anew."""
    image, sealed, key = _sealed(image_id)
    plain = open_sealed(sealed, key, image.id)
    return _jpeg(portal().decoders.render(plain, image.orientation, LONGEST_EDGE), f"image-{image.id}.jpg")


@blueprint.get("/thumbnail.jpg")
@talisman(content_security_policy=PICTURE_POLICY)
def thumbnail(image_id: UUID) -> Response:
    """96 pixels, as the worker left it."""
    return _jpeg(_derived(image_id).thumbnail, f"thumbnail-{image_id}.jpg")


@blueprint.get("/heat-map.png")
@talisman(content_security_policy=PICTURE_POLICY)
def heat_map(image_id: UUID) -> Response:
    """Where the model looked for one class, to lie over the picture."""
    wanted = request.args.get("class", "")
    if wanted not in CLASSES:
        abort(404)
    grid = _derived(image_id).saliency[..., CLASSES.index(wanted)]
    return _picture(draw_heat_map(grid), "image/png", f"heat-map-{image_id}-{wanted}.png")


def _neighbours(session: Session, image: Image, narrowing: Narrowing) -> Neighbours | None:
    return results.neighbours(
        session, image, since=narrowing.since, states=narrowing.states, **narrowing.criteria()
    )


def _checked(session: Session, image_id: UUID) -> Image:
    """The image whose bytes a page of this sign-in has promised."""
    if not tickets.is_valid(request.args.get("ticket", ""), image_id):
        abort(404)
    return results.find_result(session, image_id, keyring=portal().keyring).image
