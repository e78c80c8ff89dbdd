"""The JSON API under /api/v1: the same objects as the pages, for programs.

A program shows a bearer token and nothing else: cookies are not looked at, so that no other site can make a browser
use it. Errors are problem details (RFC 9457), made in `webui.errors` like those of the pages.
"""

from http import HTTPStatus

from flask import Flask
from flask_smorest import Api

from webui.api import audit, batches, docs, images, me, models, schemas
from webui.api.access import BEARER

_SUBJECTS = (batches, images, models, audit, me)

_DESCRIPTION = """Classifies batches of dermatoscopic images of skin lesions.

Assistive use only. Not a medical device. A clinician decides.

Make a token on your account page, or with `dermabatch users token`. Each call but `/me` leaves one event in the audit
trail."""


class _Api(Api):  # type: ignore[misc]
    DEFAULT_ERROR_RESPONSE_NAME = "PROBLEM"

    def _register_responses(self) -> None:
        # In place of flask-smorest's own, which also describe the answer to wrong arguments, and not as ours is.
        problem = {
            "description": "A problem",
            "content": {"application/problem+json": {"schema": schemas.Problem}},
        }
        for name in (self.DEFAULT_ERROR_RESPONSE_NAME, HTTPStatus.UNPROCESSABLE_ENTITY.name):
            self.spec.components.response(name, problem)


def register_api(app: Flask) -> None:
    """Give the application every resource, the OpenAPI document at /api/v1/openapi.json and /api/docs."""
    app.config.update(
        API_TITLE="Dermabatch",
        API_VERSION="v1",
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/api/v1",
        API_SPEC_OPTIONS={
            "info": {
                "description": _DESCRIPTION,
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "components": {"securitySchemes": {BEARER: {"type": "http", "scheme": "bearer"}}},
        },
    )
    api = _Api(app)
    for subject in _SUBJECTS:
        api.register_blueprint(subject.blueprint)
    app.register_blueprint(docs.blueprint)
