"""Pictures on their way to a browser: decoders encoded them anew, and here they get a name and are made inert."""

from flask import Flask, Response, request

POLICY = "default-src 'none'; sandbox; frame-ancestors 'none'"
"""Content security policy of image bytes: even a browser that took them for a document would run nothing."""


def answer(content: bytes, kind: str, name: str) -> Response:
    """An answer that is a picture.

    Args:
        content: encoded by us, never as it was handed in.
        kind: media type.
        name: for whoever saves it; made of identifiers, never the sender's.
    """
    return Response(content, mimetype=kind, headers={"Content-Disposition": f'inline; filename="{name}"'})


def install(app: Flask) -> None:
    """Put the policy on every picture, whichever view it comes from; called before Talisman sets that of pages."""
    # Functions that look at answers run in reverse order, so that this one has the last word.
    app.after_request(_keep_inert)


def _keep_inert(response: Response) -> Response:
    if (response.mimetype or "").startswith("image/") and request.endpoint != "static":
        response.headers["Content-Security-Policy"] = POLICY
    return response
