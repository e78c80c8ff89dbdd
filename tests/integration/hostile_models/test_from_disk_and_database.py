"""Somebody can write to a worker's disk, or to the database as the portal does."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, ProgrammingError
from structlog.testing import capture_logs

from dermabatch.manifest import (
    GOLDEN,
    MANIFEST,
    OPENVINO_BIN,
    WEIGHTS,
)
from tests.integration.hostile_models.standing import colour_model
from tests.situations import gate_result


def linked(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder.parent / "elsewhere")
    (folder / WEIGHTS).symlink_to(folder.parent / "elsewhere")


ON_THE_DISK = {
    "a changed file": lambda folder: (folder / OPENVINO_BIN).write_bytes(b"other"),
    "a missing file": lambda folder: (folder / GOLDEN).unlink(),
    "an added file": lambda folder: (folder / "plugin.so").write_bytes(b""),
    "a link to a file": linked,
    "an older manifest": lambda folder: (folder / MANIFEST).write_bytes(b"{}"),
}


def test_a_copy_that_was_changed_on_a_workers_disk_is_reported_and_fetched_again(standing, subtests):
    copy = standing.settings.model_cache / standing.old.digest
    for name, strike in ON_THE_DISK.items():
        with subtests.test(name):
            strike(copy)
            standing.restart()
            with capture_logs() as logs:
                assert standing.served() == standing.old.digest
            assert [log["log_level"] for log in logs if log["event"] == "model_copy_refused"] == ["error"]
            assert not (copy / "plugin.so").exists()


@pytest.mark.parametrize("gate", [None, gate_result(passed=False)], ids=["a candidate", "a rejected model"])
def test_the_pointer_moves_by_an_activation_and_by_nothing_else(standing, tmp_path, gate):
    other = colour_model(tmp_path, "another")
    standing.publish(other, gate=gate)
    with pytest.raises(IntegrityError):
        standing.move_pointer(other.digest)
    assert standing.served() == standing.old.digest


def test_the_pointer_goes_back_to_a_retired_model_by_an_activation_only(standing):
    standing.activate(standing.new.digest)
    with pytest.raises(IntegrityError, match="without an activation"):
        standing.move_pointer(standing.old.digest)
    assert standing.served() == standing.new.digest


def test_nobody_changes_by_whom_a_model_was_published(standing):
    with pytest.raises(ProgrammingError, match="permission denied"), standing.web.begin() as session:
        session.execute(
            sa.text("UPDATE models SET published_by = :nurse"), {"nurse": standing.hospital.nurse}
        )
