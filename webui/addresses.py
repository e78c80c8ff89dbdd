"""Where a request asks to be led on to: a page of this portal, or the start."""

from urllib.parse import urlsplit


def path_here(wanted: str) -> str:
    """The address, if every browser takes it for a path of this site; `/` for anything else.

    Browsers read `//elsewhere` and `/\\elsewhere` as another site, and leave out what cannot be printed before they
    look.
    """
    ours = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if ours and not urlsplit(wanted).netloc else "/"
