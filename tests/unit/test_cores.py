"""A container's quota counts, not only what the machine has."""

import os
from pathlib import Path

import pytest

from dermabatch.cores import available_cores

ALL = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("max 100000\n", ALL),
        ("100000 100000\n", 1),
        ("50000 100000\n", 1),
        ("6400000 100000\n", min(64, ALL)),
    ],
)
def test_cores_are_those_of_the_quota_and_at_least_one(tmp_path: Path, quota: str, cores: int) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    assert available_cores(tmp_path / "cpu.max") == cores


def test_without_a_quota_all_cores_of_the_affinity_count(tmp_path: Path) -> None:
    assert available_cores(tmp_path / "absent") == ALL
