"""A source of a million files that are known already goes through in flat memory."""

import psutil
import pytest

from dermabatch.screening.sources import SourceFile
from dermabatch.screening.tables import SourceKind
from tests.integration.intake.conftest import picture
from tests.integration.screening.conftest import counts

DIFFERENT, LISTED = 2_000, 1_000_000


class LongListing:
    """Names few files again and again, each a letter: what is measured is the way of a listing, not of pictures."""

    kind = SourceKind.FOLDER
    identity = "folder:/a long listing"

    def __init__(self, listed):
        self.listed = listed

    def files(self):
        for number in range(self.listed):
            name = f"{number % DIFFERENT}.jpg"
            yield SourceFile(f"file:/a long listing/{name}", name, "1", 10)

    def read(self, file, *, at_most):
        return picture(0) if file.name == "0.jpg" else b"a letter " + file.name.encode()

    def metadata(self):
        return None

    def close(self):
        pass


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_million_known_files_are_skipped_in_flat_memory(archive):
    archive.screen(LongListing(DIFFERENT))
    resident = {}

    def weigh(progress):
        resident[progress.listed] = psutil.Process().memory_info().rss

    report = archive.screen(LongListing(LISTED), tell=weigh)

    assert counts(report) == {"listed": LISTED, "skipped": LISTED}
    early = max(size for listed, size in resident.items() if listed <= LISTED // 20)
    assert max(resident.values()) - early < 16 * 2**20
