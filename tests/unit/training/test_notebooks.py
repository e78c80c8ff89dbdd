"""The notebook of the exploration: it runs on a set of its own, and nobody's pictures are committed with it."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[3]
NOTEBOOKS = sorted((ROOT / "training" / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.name)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def test_it_is_kept_without_outputs(notebook):
    nbformat.validate(notebook)
    assert NOTEBOOKS
    assert all(cell.outputs == [] for cell in notebook.cells if cell.cell_type == "code")
    assert all(cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code")


def run(notebook):
    """Executes all cells; gives what they printed and how many figures they drew."""
    place = {"metadata": {"path": str(ROOT)}}
    NotebookClient(notebook, timeout=240, kernel_name="python3", resources=place).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    return printed, sum("image/png" in output.get("data", {}) for output in outputs)


def test_it_runs_from_the_first_cell_to_the_last(notebook, monkeypatch):
    monkeypatch.delenv("EXPLORATION_DATA", raising=False)

    printed, figures = run(notebook)

    assert figures == 9
    assert "185 images of 158 lesions, all painted" in printed
    assert "3 pairs of near-duplicates across sides" in printed
    assert "Warning" not in printed


@pytest.mark.long
def test_it_runs_on_the_folder_that_the_environment_names(notebook, dataset, monkeypatch):
    monkeypatch.setenv("EXPLORATION_DATA", str(dataset))

    printed, _ = run(notebook)

    assert "112 images of 84 lesions\n" in printed
