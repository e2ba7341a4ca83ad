"""The notebooks of examples/ are committed without outputs, and every cell runs."""

import json
from pathlib import Path

import pytest
from documented import run_python

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples").glob("*.ipynb"))
every_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(notebook):
    return [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]


def test_there_are_notebooks():
    assert {path.stem for path in NOTEBOOKS} >= {"look_inside", "segment", "figure_3", "new_layer"}


@every_notebook
def test_a_notebook_is_committed_without_outputs(notebook):
    for cell in code_cells(notebook):
        assert (cell["outputs"], cell["execution_count"]) == ([], None), "clear all outputs before committing"


FASTER = {
    "steps=150": "steps=15",
    "short_side=160).resize((240, 160))": "short_side=80).resize((120, 80))",
    "for name in PHOTOGRAPHS]": "for name in list(PHOTOGRAPHS)[:3]]",
}
"""Training and large or many pictures are most of the work."""


@every_notebook
@pytest.mark.usefixtures("unchecked")
def test_every_cell_runs(notebook, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    known = {"__name__": "__main__"}
    for number, cell in enumerate(code_cells(notebook), start=1):
        lines = [line for line in cell["source"] if not line.startswith("%")]  # magics are IPython's
        source = "".join(lines)
        for long, short in FASTER.items():
            source = source.replace(long, short)
        run_python(source, f"{notebook.name}, code cell {number}", known)
    assert not list(tmp_path.iterdir()), "a notebook writes no files unasked"
