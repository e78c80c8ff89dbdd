"""/api/docs: the OpenAPI document for people, with Swagger UI from our own files."""

from flask import Blueprint, render_template

blueprint = Blueprint("api_docs", __name__, url_prefix="/api")


@blueprint.get("/docs")
def show() -> str:
    """The page; it loads /api/v1/openapi.json."""
    return render_template("api/docs.html")
