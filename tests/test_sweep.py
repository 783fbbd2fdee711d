"""Sweeps: the grid, what is continued, and the table."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from jaxvision import sweep
from jaxvision.errors import UsageError

FAKE = """
import json, pathlib, sys
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
workdir = pathlib.Path(options["--workdir"])
workdir.mkdir(parents=True, exist_ok=True)
(workdir / "runs.txt").open("a").write("ran ")
if options["--rate"] == "9":
    sys.exit(3)
seed = int(options["--seed"])
record = {"seed": seed, "wall_seconds": 1.0, "options": options,
          "test_accuracy": 0.9 + 0.01 * seed, "test_loss": float(options["--rate"])}
(workdir / "result.json").write_text(json.dumps(record))
"""


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """An experiment that records its options and costs nothing."""
    (tmp_path / "fake_experiment.py").write_text(FAKE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_seed_of_every_point_runs_once(fake, capsys):
    arguments = ("fake_experiment", 3, ["rate=1,2", "batch_size=8"], Path("out"))
    summary = sweep.sweep(*arguments, ["--epochs", "5"])
    assert [row["point"] for row in summary] == [
        {"rate": "1", "batch_size": "8"}, {"rate": "2", "batch_size": "8"}
    ]  # fmt: skip
    accuracy = summary[0]["metrics"]["test_accuracy"]
    assert accuracy["mean"] == pytest.approx(0.91)
    assert accuracy["std"] == pytest.approx(0.01)
    assert summary[1]["metrics"]["test_loss"]["mean"] == 2
    assert "91 ± 1 %" in capsys.readouterr().out
    record = json.loads(
        Path("out", "rate=2-batch_size=8-seed1", "result.json").read_text()
    )
    options = record["options"]
    assert options["--batch-size"] == "8" and options["--epochs"] == "5"

    # What is there stays; what is missing is run.
    Path("out", "rate=1-batch_size=8-seed2", "result.json").unlink()
    sweep.sweep(*arguments)
    runs = {p.parent.name: p.read_text() for p in Path("out").rglob("runs.txt")}
    assert runs.pop("rate=1-batch_size=8-seed2") == "ran ran "
    assert set(runs.values()) == {"ran "} and len(runs) == 5


def test_a_failed_run_does_not_stop_the_others(fake, capsys):
    with pytest.raises(SystemExit) as end:
        sweep.sweep("fake_experiment", 2, ["rate=9,1"], Path("out"))
    assert end.value.code == 1
    out = capsys.readouterr().out
    assert "rate=9-seed0 ended with code 3" in out and "2 of 4 runs failed" in out
    summary = json.loads(Path("out", "sweep.json").read_text())
    assert summary[0]["seeds"] == [] and summary[1]["seeds"] == [0, 1]


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (["rate"], "cannot read --grid 'rate'"),
        (["rate=1,,2"], "cannot read"),
        (["rate=1", "rate=2"], "rate is given twice"),
        (["rate=1,1"], "a value of rate is given twice"),
        (["seed=1,2"], "given with --seeds"),
    ],
)
def test_grids_that_cannot_be_read(grid, message):
    with pytest.raises(UsageError, match=message):
        sweep.parse_grid(grid)


def test_the_command_line_hands_over(fake):
    root = Path(sweep.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-m", "jaxvision", "sweep", "fake_experiment", "--seeds", "2",
         "--grid", "rate=1,2", "--workdir", "out", "--", "--epochs", "7"],
        env={"PYTHONPATH": f"{root}:{fake}", "PATH": ""},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(list(Path("out").rglob("result.json"))) == 4
    for file in Path("out").rglob("result.json"):
        assert json.loads(file.read_text())["options"]["--epochs"] == "7"
