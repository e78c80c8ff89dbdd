"""What every answer must have that is a picture."""

from dermabatch.imaging.jpeg import inspect_jpeg
from webui.pictures import POLICY


def assert_inert(answer, kind: str) -> None:
    """A browser that took it for a page could do nothing, and saves it under a name that tells nothing.

    Args:
        kind: media type.
    """
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == kind
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == POLICY
    disposition = answer.headers["Content-Disposition"]
    assert disposition.startswith('inline; filename="')
    assert answer.request.path.split("/")[-2] in disposition  # the identifier of the image


def assert_holds_nothing_but_pixels(jpeg: bytes, *planted: bytes) -> None:
    """Neither a comment, a profile, a place nor a byte behind its end; nor what a test hid."""
    assert inspect_jpeg(jpeg).stripped == jpeg
    for mark in planted:
        assert mark not in jpeg
