"""A screening killed again and again, and its services with it: every file is accounted for, and none twice."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from dermabatch.embedded.host import wait_until
from dermabatch.lifecycle import BatchState
from dermabatch.schema import Batch, Image
from dermabatch.screening.tables import ScreeningRun
from tests.live import LiveInstallation, small_lesions

FILES = 1_500


@pytest.fixture
def archive(tmp_path) -> Path:
    """Lesions in folders, and among them a letter and a copy."""
    lesions = small_lesions(FILES - 2, first_seed=700_000)
    for number, lesion in enumerate(lesions):
        path = tmp_path / f"year {number % 7}" / lesion.name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(lesion.data)
    (tmp_path / "letter.pdf").write_bytes(b"%PDF-1.7 a letter")
    (tmp_path / "copy.jpg").write_bytes(lesions[0].data)
    return tmp_path


def screening(live: LiveInstallation, archive: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "cli.main",
            "screen",
            str(archive),
            "--json",
            "--user",
            "nurse@hospital.example",
        ],
        env={**live.installation.environment("portal"), "PYTHONPATH": str(Path.cwd())},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def stored(live: LiveInstallation) -> int:
    """Images with their bytes, those of broken uploads among them."""
    with live.behind.begin() as session:
        query = sa.select(sa.func.count()).select_from(Image).where(Image.pack_id.is_not(None))
        return session.scalar(query) or 0


def test_a_screening_survives_kills_of_itself_and_of_every_service(live, archive):
    """In the middle of uploads, but for the first one; what was accepted by then stays."""
    strikes = ["worker", "scheduler", "redis", "postgres", "s3", None]
    for images, service in zip([700, 200, 200, 200, 200, 200], strikes, strict=True):
        goal = stored(live) + images
        running = screening(live, archive)
        assert wait_until(lambda goal=goal: stored(live) >= goal, seconds=180), running.communicate()
        if service is not None:
            live.installation.services.kill(service)
        os.kill(running.pid, signal.SIGKILL)
        running.communicate()
        if service in ("redis", "postgres", "s3"):
            live.installation.services.restart(service)
        elif service is not None:
            live.installation.start(service)

    out, err = screening(live, archive).communicate(timeout=400)
    report = json.loads(out)

    assert report["files"] == {
        "listed": FILES,
        "skipped": 1,
        "taken_in": FILES - 2,
        "rescored": 0,
        "refused": 1,
        "unreadable": 0,
    }, err
    assert (report["difference"], report["starts"], report["outstanding"]) == (0, len(strikes) + 1, 0)
    assert sum(report["triage"].values()) + report["images"]["rejected"] == FILES - 2
    with live.behind.begin() as session:
        [run] = session.scalars(sa.select(ScreeningRun)).all()
        seen = session.scalar(
            sa.select(sa.func.sum(Batch.received)).where(
                Batch.queue == "bulk", Batch.state == BatchState.ACCEPTED, Batch.created_at > run.started_at
            )
        )
    assert seen == FILES - 1
