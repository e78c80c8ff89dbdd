"""Tickets for image bytes: who was shown a page may fetch the pictures on it, and nobody else.

The page's own audit event covers its pictures, so that one view is one event. Without a ticket the address of a
picture is worth nothing, and no picture is ever read behind the trail's back.
"""

import hmac
from uuid import UUID

from flask import current_app

from webui.signing_in import signed_in_person


def ticket_for(image_id: UUID) -> str:
    """A ticket that holds for this image, this person and this sign-in."""
    person = signed_in_person()
    if person is None:
        return ""
    holder = f"{person.session_id}/{image_id}"
    key = f"picture-ticket/{current_app.secret_key!s}"
    return hmac.new(key.encode(), holder.encode(), "sha256").hexdigest()[:32]


def is_valid(ticket: str, image_id: UUID) -> bool:
    """Whether a page of this sign-in has handed the ticket out."""
    return hmac.compare_digest(ticket.encode(), ticket_for(image_id).encode())
