"""`dermabatch submit`: from a folder on disk to an accepted batch."""

import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from cli.main import dermabatch
from dermabatch import ledger
from dermabatch.errors import DermabatchError, EmptyBatch, InvalidRequest, NotAllowed
from dermabatch.imaging.synthetic import lesion_jpeg
from dermabatch.lifecycle import BatchState, Queue
from dermabatch.objects import S3ObjectStore
from dermabatch.schema import Batch
from dermabatch.settings import Settings
from tests.situations import open_hospital, person

NURSE = "nurse@hospital.example"


@pytest.fixture
def hospital(monkeypatch, services, database, redis_url):
    values = services.environment("web", database.name) | {"DERMABATCH_S3_BUCKET": f"test-{uuid4()}"}
    for name, value in {**values, "DERMABATCH_USER": NURSE}.items():
        monkeypatch.setenv(name, value)
    S3ObjectStore.from_settings(Settings()).ensure_bucket()
    return open_hospital(database.sessions("web"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures, one of them in a ZIP, a letter, and a CSV."""
    (tmp_path / "left").mkdir()
    (tmp_path / "left" / "1.jpg").write_bytes(lesion_jpeg(1, width=96, height=72))
    (tmp_path / "2.jpg").write_bytes(lesion_jpeg(2, width=96, height=72))
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.writestr("3.jpg", lesion_jpeg(3, width=96, height=72))
    (tmp_path / "letter.txt").write_text("Dear colleague")
    (tmp_path / "patients.csv").write_text("file,patient,dx\nleft/1.jpg,P-1,nv\n2.jpg,P-2,nv\n")
    return tmp_path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(dermabatch, ["submit", *map(str, arguments)], catch_exceptions=False)


def test_a_folder_becomes_a_batch(hospital, folder: Path, database):
    result = run(folder, "--metadata", folder / "patients.csv", "--queue", "bulk", "--json")
    answer = json.loads(result.stdout)
    assert result.exit_code == 0
    assert {name: answer[name] for name in ("received", "stored", "rejected", "ignored_columns")} == {
        "received": 4,
        "stored": 3,
        "rejected": 1,
        "ignored_columns": ["dx"],
    }
    with database.sessions("worker").begin() as session:
        batch = session.get_one(Batch, UUID(answer["batch"]))
        assert (batch.state, batch.queue, batch.submitted_by) == (
            BatchState.ACCEPTED,
            Queue.BULK,
            hospital.nurse,
        )


def test_a_person_reads_what_happened(hospital, folder: Path):
    output = run(folder, "--metadata", folder / "patients.csv").stdout
    assert "4 received, 3 taken in" in output
    assert "1 were refused" in output
    assert "dx" in output


def test_the_same_key_hands_in_once(hospital, folder: Path):
    first, again = (json.loads(run(folder, "--idempotency-key", "a", "--json").stdout) for _ in range(2))
    assert again == {**first, "repeated": True}


def test_waiting_ends_with_the_last_outcome(hospital, folder: Path, database):
    worker = database.sessions("worker")
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(run, folder / "2.jpg", "--wait", "--json")
        cancelled = False
        while not cancelled and not waiting.done():
            with worker.begin() as session:
                accepted = session.scalar(sa.select(Batch.id).where(Batch.state == BatchState.ACCEPTED))
                if accepted is not None:
                    ledger.cancel_batch(session, accepted, actor=person(hospital.nurse))
                    cancelled = True
        result = waiting.result(timeout=30)
    assert json.loads(result.stdout)["states"]["cancelled"] == 1
    assert result.exit_code == 0


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--user", "admin@hospital.example"], NotAllowed),
        (["--user", "nobody@hospital.example"], DermabatchError),
    ],
)
def test_only_staff_hand_in(hospital, folder: Path, options: list[str], error: type[DermabatchError]):
    with pytest.raises(error):
        run(folder, *options)


def test_an_empty_folder_is_no_batch(hospital, tmp_path: Path):
    with pytest.raises(EmptyBatch):
        run(tmp_path)


def test_a_csv_without_its_columns_is_refused_before_anything_is_stored(hospital, folder: Path, database):
    with pytest.raises(InvalidRequest, match="names the column file"):
        run(folder, "--metadata", folder / "letter.txt")
    with database.sessions("worker").begin() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Batch)) == 0


def test_a_path_that_does_not_exist_is_wrong_use(hospital):
    assert run("/does/not/exist").exit_code == 2
