import io
import zipfile
from pathlib import Path

import pytest

ORIGINALS = Path(__file__).parents[3] / "shared" / "data" / "ham10000_originals"


@pytest.fixture(scope="session")
def originals() -> bytes:
    """A ZIP of the 48 published images at 600x450, where this machine has them."""
    pictures = sorted(ORIGINALS.rglob("*.jpg"))
    if len(pictures) != 48:
        pytest.skip("the 48 originals are not on this machine")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for picture in pictures:
            archive.write(picture, picture.name)
    return buffer.getvalue()
