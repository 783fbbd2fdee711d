"""Every notebook of docs/notebooks runs, cell by cell, as a reader would run it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = {
    file.stem: json.loads(file.read_text(encoding="utf-8"))
    for file in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
}
CHECKS = {
    "1_first_experiment": "assert result['test_accuracy'] > 0.9",
    "2_own_data": "assert result['test_accuracy'] > 0.9",
    "3_transfer": "assert min(before['test_accuracy'], tuned['test_accuracy']) > 0.3\n"
    "assert tuned['test_accuracy'] > scratch['test_accuracy'] - 0.05",
    "4_own_task": "assert result['test_accuracy'] > 0.8",
}
"""What has to hold in the end, so that a page does not show a run that fails."""


def code(notebook):
    """The source of each cell with code."""
    return [
        "".join(cell["source"])
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    ]


def test_every_notebook_is_run():
    assert CHECKS.keys() == NOTEBOOKS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_runs(name, tmp_path):
    # A cell shows its last line, which a program computes as well.
    program = "\n\n".join([*code(NOTEBOOKS[name]), CHECKS[name]])
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True,
        timeout=600,
        env=os.environ
        | {"XLA_FLAGS": "", "MPLBACKEND": "agg", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_is_committed_as_it_was_written(name):
    """Without outputs; the rest is what `make lint` checks of them."""
    notebook = NOTEBOOKS[name]
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    for cell in notebook["cells"]:
        assert cell["cell_type"] in ("markdown", "code") and cell["source"]
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
            assert not cell["source"][0].startswith(("%", "!")), "plain Python only"
