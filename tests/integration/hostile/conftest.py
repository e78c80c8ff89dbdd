"""The whole intake and a worker on real services, whose decoders are watched."""

import os
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest

from dermabatch.imaging.sandbox import DecoderPool
from dermabatch.lifecycle import ImageState
from dermabatch.schema import Image
from tests.integration.hostile import pillow_corpus
from tests.integration.intake.conftest import incoming, intake, settings  # noqa: F401 - fixtures
from tests.integration.worker.conftest import Work, shipped_engine, work  # noqa: F401 - fixtures

MAX_BYTES = 512 * 2**20
MAX_SECONDS = 5.0
FINAL = {ImageState.REJECTED, ImageState.CLASSIFIED, ImageState.UNASSESSABLE}
_FORKS_DECODERS = "dermabatch.imaging.decoder_parent"
WATCHED = "tests.integration.hostile.watched_operations"


@dataclass
class Watch:
    """What the processes of a pool with one decoder have used."""

    pool: DecoderPool
    programs: list[psutil.Process]

    @classmethod
    def over(cls, pool: DecoderPool) -> "Watch":
        parents = [child for child in psutil.Process().children() if _FORKS_DECODERS in child.cmdline()]
        newest = max(parents, key=psutil.Process.create_time)
        return cls(pool, [newest, *newest.children()])

    @property
    def seconds(self) -> float:
        """Of the CPU, all files so far."""
        used = self.programs[1].cpu_times()
        return used.user + used.system

    @property
    def peak_bytes(self) -> int:
        """The most memory that the decoder ever held, with what it shares with the pool."""
        status = Path(f"/proc/{self.programs[1].pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024

    def assert_nothing_died(self) -> None:
        """Neither the decoder nor the program that it was forked from was ever replaced."""
        assert all(program.is_running() for program in self.programs)
        assert self.programs[0].children() == self.programs[1:]


@pytest.fixture(scope="session")
def decoders() -> Iterator[DecoderPool]:
    """They end themselves where a codec sees what it should not. Time is measured, not limited: tests may be slow."""
    with DecoderPool(1, wall_seconds=120, operations=WATCHED) as pool:
        yield pool


@pytest.fixture(scope="session")
def watch(decoders) -> Watch:
    return Watch.over(decoders)


@dataclass
class Ward:
    """Hands files in and lets a worker do all that is to be done."""

    work: Work
    watch: Watch

    def judge(self, files: Iterable[tuple[str, bytes]]) -> list[Image]:
        """What became of the files, in order. Each is in one of the three ends, and none is lost."""
        nurse = self.work.intake
        acceptance = nurse.upload(incoming(name, data) for name, data in files)
        self.work.drain()
        images = nurse.images(acceptance.batch_id)
        assert {image.state for image in images} <= FINAL, Counter(image.state for image in images)
        assert all(image.reason for image in images if image.state is ImageState.REJECTED)
        counts = nurse.counts(acceptance.batch_id)
        assert (counts.received, counts.difference, counts.pending) == (len(images), 0, 0)
        self.watch.assert_nothing_died()
        assert self.watch.peak_bytes <= MAX_BYTES
        return list(images)


@pytest.fixture
def ward(work, watch) -> Ward:  # noqa: F811 - the fixture
    return Ward(replace(work, intake=work.intake.with_settings(pack_images=64)), watch)


@pytest.fixture(scope="session")
def pillow_pictures(request) -> list[tuple[str, bytes]]:
    """Missing, they skip a test on a laptop and fail it in CI."""
    try:
        distribution = pillow_corpus.fetch(request.config.cache.mkdir("pillow"))
    except subprocess.SubprocessError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"Pillow's source distribution cannot be fetched: {getattr(error, 'stderr', error)}")
    return list(pillow_corpus.pictures(distribution))
