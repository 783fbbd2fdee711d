"""`run` in a cell of a notebook, or at a prompt."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jaxvision.errors import UsageError
from jaxvision.runs import run
from tests import tiny

CELL = """
import dataclasses
from jaxvision.runs import run
from tests import tiny

@dataclasses.dataclass(frozen=True)
class Config(tiny.Config):
    epochs: int = 1

def build(config):
    return tiny.build(config)

try:
    run(build, Config, smoke={}, arguments=["--epochs", "0"])
except ValueError as error:
    print("caught:", type(error).__name__, error)
result = run(build, Config, smoke={})
print("accuracy is a number:", 0 <= result["test_accuracy"] <= 1)
"""
AS_KERNEL = """
import sys
sys.ps1, sys.argv = "In : ", ["ipykernel_launcher.py", "-f", "kernel.json"]
exec(compile(sys.stdin.read(), "/tmp/ipykernel_1/1.py", "exec"))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "kernel",
    [
        pytest.param(True, id="notebook"),
        pytest.param(False, id="prompt", marks=pytest.mark.slow),
    ],
)
def test_a_cell_trains_without_a_command_line_and_catches_errors(kernel, tmp_path):
    # A prompt needs an empty line after each block, and has no other in it.
    text = CELL if kernel else CELL.replace("result =", "\nresult =")
    done = subprocess.run(
        [sys.executable, *(["-c", AS_KERNEL] if kernel else ["-i", "-q"])],
        cwd=tmp_path, input=text, capture_output=True, text=True, timeout=300,
        env=os.environ | {"XLA_FLAGS": "",
                          "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "caught: UsageError epochs must make between 1 and" in done.stdout
    assert "accuracy is a number: True" in done.stdout
    assert len(list(tmp_path.glob("runs/notebook/*/result.json"))) == 1


@pytest.fixture
def prompt(monkeypatch):
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    monkeypatch.setattr(sys, "argv", ["ipykernel_launcher.py", "-f", "kernel.json"])


def test_options_that_do_not_exist_are_an_exception(prompt, capsys):
    with pytest.raises(UsageError, match="refused, see above"):
        run(tiny.build, tiny.Config, smoke={}, arguments=["--epoch", "3"])
    assert "--epoch" in capsys.readouterr().err


def test_help_does_not_end_a_session(prompt, capsys):
    assert run(tiny.build, tiny.Config, smoke={}, arguments=["--help"]) == {}
    assert "--workdir" in capsys.readouterr().out
