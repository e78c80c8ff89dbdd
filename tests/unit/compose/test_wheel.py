"""The images of our programs hold the wheel and nothing of this repository beside it."""

from pathlib import Path
from zipfile import ZipFile

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[3]
PACKAGES = ("dermabatch", "worker", "webui", "training", "cli", "migrations")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The names of the files in the wheel of this working tree."""
    (built,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("wheel")))
    with ZipFile(built) as archive:
        return set(archive.namelist())


def test_everything_that_a_program_reads_at_run_time_is_in_the_wheel(wheel):
    files = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files - wheel == set()


@pytest.mark.parametrize(
    "name",
    [
        "dermabatch/shipped_model/manifest.json",
        "dermabatch/shipped_model/openvino/model.bin",
        "migrations/script.py.mako",
        "migrations/versions/0001_core.py",
        "webui/templates/base.html",
        "webui/static/portal.css",
        "webui/static/vendor/htmx/htmx.min.js",
    ],
)
def test_no_kind_of_file_is_forgotten(wheel, name):
    assert name in wheel


def test_the_wheel_holds_no_test_and_no_secret(wheel):
    assert {name.split("/")[0] for name in wheel if ".dist-info/" not in name} == set(PACKAGES)


def test_both_licences_go_with_it(wheel):
    licences = {name.rsplit("/", 1)[1] for name in wheel if "/licenses/" in name}
    assert licences == {"LICENSE", "LICENSE-MODEL"}
