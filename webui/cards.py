"""A model's card: Markdown from the storage, shown as a part of a page."""

import hashlib
from typing import Final

from markdown_it import MarkdownIt
from markupsafe import Markup

from dermabatch.errors import ObjectMissing, ObjectStoreUnavailable
from dermabatch.manifest import CARD
from dermabatch.objects import ObjectStore
from dermabatch.schema import Model

# HTML in the text is shown as text; links to scripts are refused by the parser itself.
_MARKDOWN: Final = MarkdownIt("commonmark", {"html": False}).enable("table")


def card_of(model: Model, store: ObjectStore) -> Markup | None:
    """The card as HTML; None where the storage does not give out the one that the manifest vouches for."""
    try:
        content = store.get(f"models/{model.digest}/{CARD}")
    except (ObjectMissing, ObjectStoreUnavailable):
        return None
    if hashlib.sha256(content).hexdigest() != model.manifest["files"][CARD]["sha256"]:
        return None
    return render(content.decode())


def render(markdown: str) -> Markup:
    """HTML without any inline style, which the portal's policy would refuse."""
    tokens = _MARKDOWN.parse(markdown)
    for token in tokens:
        # How Markdown aligns the columns of a table.
        token.attrs.pop("style", None)
    return Markup(_MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {}))  # noqa: S704 - made by the renderer
