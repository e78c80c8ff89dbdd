"""What the pages and the API need besides Flask: the collaborators of one portal."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from flask import current_app

from dermabatch.database import Sessions
from dermabatch.imaging.sandbox import DecoderPool
from dermabatch.objects import ObjectStore
from dermabatch.queue import WakeUp
from dermabatch.settings import Settings
from dermabatch.subjects import KeyRing
from webui.turns import Turns

_EXTENSION = "dermabatch"


@dataclass(frozen=True, slots=True)
class Portal:
    """Made once by `create_app`, shared by all threads of the program."""

    settings: Settings
    sessions: Sessions
    store: ObjectStore
    keyring: KeyRing
    wake_up: WakeUp
    decoders: DecoderPool
    upload_turns: Turns
    derived_object: Callable[[str], bytes]
    """Reads an object of thumbnails and saliency grids from the storage; the last ones are kept.

    One serves up to 64 images (250 kB), so that a page of thumbnails is a handful of reads.
    """

    def install(self, app: Any) -> None:
        """Let `portal()` find these collaborators in requests to this application."""
        app.extensions[_EXTENSION] = self


def portal() -> Portal:
    """The collaborators of the application that answers the present request."""
    return cast(Portal, current_app.extensions[_EXTENSION])
