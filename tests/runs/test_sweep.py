"""Sweeps: the grid, what is continued, and the table."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

import jaxvision.runs.execute
from jaxvision.engine import lockstep
from jaxvision.engine.history import read_rows
from jaxvision.engine.lockstep import Lockstep
from jaxvision.errors import UsageError
from jaxvision.runs import run, sweep
from tests.tiny import Config, build

FAKE = """
import json, pathlib, sys
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
workdir = pathlib.Path(options["--workdir"])
workdir.mkdir(parents=True, exist_ok=True)
(workdir / "runs.txt").open("a").write("ran ")
if options["--rate"] == "9":
    sys.exit(3)
seed = int(options["--seed"])
record = {"seed": seed, "evaluations": ["test"], "wall_seconds": 1.0,
          "options": options, "test_accuracy": 0.9 + 0.01 * seed,
          "test_loss": float(options["--rate"]),
          "measures": {"accuracy": {"name": "accuracy", "unit": "%", "decimals": 1}}}
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
    assert "91.0 ± 1.0 %" in capsys.readouterr().out
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


WAITING = """
import pathlib, signal, sys
def end(number, frame):
    print(signal.Signals(number).name, flush=True)
    sys.exit(130 if number == signal.SIGINT else 75)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, end)
pathlib.Path("begun").touch()
signal.pause()
"""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)]
)
def test_signals_are_passed_on_once_and_end_the_sweep(fake, number, code):
    """Also Ctrl-C, which a terminal sends to every process of its foreground group."""
    Path("fake_experiment.py").write_text(WAITING)
    root = Path(sweep.__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-m", "jaxvision", "sweep", "fake_experiment", "--seeds", "2"],
        env={"PYTHONPATH": f"{root}:{fake}", "PATH": ""}, text=True,
        stdout=subprocess.PIPE, start_new_session=True,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 60
        while not Path("begun").exists():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
        os.killpg(process.pid, number)
        said = process.communicate(timeout=60)[0]
    assert process.returncode == code, said
    assert said.count(number.name) == 1
    assert "the same command continues the sweep" in said
    assert "run 2 of 2" not in said


def test_runs_that_end_with_nan_or_damage_do_not_end_the_sweep(fake, capsys):
    sweep.sweep("fake_experiment", 3, ["rate=1"], Path("out"))
    file = Path("out", "rate=1-seed1", "result.json")
    record = json.loads(file.read_text())
    file.write_text(json.dumps(record | {"test_accuracy": None}))  # NaN in JSON
    Path("out", "rate=1-seed2", "result.json").write_bytes(b"\xff")
    summary = sweep.sweep("fake_experiment", 3, ["rate=1"], Path("out"))
    assert summary[0]["seeds"] == [0, 1, 2]  # the damaged one has run again
    accuracy = summary[0]["metrics"]["test_accuracy"]
    assert math.isnan(accuracy["mean"]) and math.isnan(accuracy["std"])
    assert "nan ± nan %" in capsys.readouterr().out
    saved = json.loads(Path("out", "sweep.json").read_text())
    assert saved[0]["metrics"]["test_accuracy"]["mean"] is None


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
    root = Path(sweep.__file__).parents[2]
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


def test_seeds_in_lockstep_are_one_process_for_each_point(fake, monkeypatch):
    Path("fake_experiment.py").write_text(FAKE_SEEDS)
    Path("out/rate=2-seed1").mkdir(parents=True)
    Path("out/rate=2-seed1/result.json").write_text(
        json.dumps(
            {"seed": 1, "evaluations": ["test"], "wall_seconds": 5.0, "test_loss": 2.0}
        )
    )
    summary = sweep.sweep(
        "fake_experiment", 3, ["rate=1,2"], Path("out"), ["--smoke"], vmap_seeds=True
    )
    calls = [json.loads(line) for line in Path("calls.txt").read_text().splitlines()]
    assert calls == [
        ["--rate", "1", "--vmap-seeds", "0", "1", "2",
         "--workdir", "out/rate=1-seed{seed}", "--smoke"],
        ["--rate", "2", "--vmap-seeds", "0", "2",
         "--workdir", "out/rate=2-seed{seed}", "--smoke"],
    ]  # fmt: skip
    assert [row["seeds"] for row in summary] == [[0, 1, 2]] * 2
    # Those in lockstep took the same 6 seconds, the other its own 5.
    assert [row["wall_seconds"] for row in summary] == [6.0, 11.0]


FAKE_SEEDS = """
import json, pathlib, sys
words = sys.argv[1:]
open("calls.txt", "a").write(json.dumps(words) + chr(10))
first, last = words.index("--vmap-seeds") + 1, words.index("--workdir")
seeds = [int(word) for word in words[first:last]]
for seed in seeds:
    workdir = pathlib.Path(words[last + 1].replace("{seed}", str(seed)))
    workdir.mkdir(parents=True, exist_ok=True)
    record = {"seed": seed, "evaluations": ["test"], "wall_seconds": 6.0,
              "vmap_seeds": seeds, "test_loss": 1.0}
    (workdir / "result.json").write_text(json.dumps(record))
"""


def train(*arguments, build=build):
    return run(
        build,
        Config,
        smoke={},
        arguments=["--epochs", "2", "--devices", "1", *map(str, arguments)],
    )


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Seeds 0 and 1, each in a run of its own."""
    folder = tmp_path_factory.mktemp("alone")
    for seed in range(2):
        train("--seed", seed, "--workdir", folder / f"seed{seed}")
    return folder


def together(folder, **options):
    return train(
        "--vmap-seeds", 0, 1, "--workdir", folder / "seed{seed}", **options
    )  # fmt: skip


def record(folder, seed):
    return json.loads((folder / f"seed{seed}" / "result.json").read_text())


SPENT = (
    "seconds", "per_second", "memory", "finished_at", "command", "git", "vmap_", "crc32"
)  # fmt: skip
"""What may differ between records of the same numbers, by parts of names; and the
shares of the time; and the checksum of all that."""


def assert_same(folder, other):
    """Records, configs and logs, but for the time and memory that were spent."""
    for seed in range(2):
        for one, two in (
            (record(folder, seed), record(other, seed)),
            *zip(
                read_rows(folder / f"seed{seed}" / "metrics.jsonl"),
                read_rows(other / f"seed{seed}" / "metrics.jsonl"),
                strict=True,
            ),
        ):
            names = [
                name
                for name in one | {n: v for n, v in two.items()}
                if not any(part in name for part in SPENT)
                and name not in ("data_wait", "dispatch", "device")
            ]
            assert {n: one.get(n) for n in names} == {n: two.get(n) for n in names}
        configs = [(at / f"seed{seed}" / "config.json") for at in (folder, other)]
        assert configs[0].read_text() == configs[1].read_text()


@pytest.mark.slow
def test_seeds_in_lockstep_have_the_bits_and_records_of_those_alone(alone, tmp_path):
    result = together(tmp_path)
    assert result["seed"] == 0 and result["vmap_seeds"] == [0, 1]
    assert_same(tmp_path, alone)
    digests = {record(tmp_path, seed)["params_digest"] for seed in range(2)}
    assert len(digests) == 2


@pytest.mark.slow
def test_vmapped_seeds_agree_with_those_alone(alone, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(
        lockstep,
        "_make_vmapped",
        lambda *arguments, make=lockstep._make_vmapped: (
            made.append(1) or make(*arguments)
        ),
    )
    monkeypatch.setattr(
        jaxvision.runs.seeds, "Lockstep", partial(Lockstep, vmapped=True)
    )
    together(tmp_path)
    assert made == [1]
    for seed in range(2):
        for name in ("test_loss", "validation_loss"):
            expected = record(alone, seed)[name]
            assert record(tmp_path, seed)[name] == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_seeds_continue_from_where_each_was(alone, tmp_path, monkeypatch):
    def die(self, step, calls, run=Lockstep._run, rounds=[]):  # noqa: B006
        rounds.append(1)
        if len(rounds) > 6:
            raise RuntimeError("the lights went out")
        return run(self, step, calls)

    with monkeypatch.context() as patched:
        patched.setattr(Lockstep, "_run", die)
        with pytest.raises(RuntimeError, match="lights"):
            together(tmp_path)
    assert not list(tmp_path.rglob("result.json"))
    shutil.rmtree(tmp_path / "seed1")  # it begins again, and the other does not
    together(tmp_path)
    assert_same(tmp_path, alone)


def test_a_seed_that_fails_leaves_the_others_alone(alone, tmp_path, capsys):
    def poisoned(config):
        return build(config)._replace(
            **({"train": build(Config(**POISON)).train} if config.seed == 0 else {})
        )

    with pytest.raises(SystemExit) as end:
        together(tmp_path, build=poisoned)
    assert end.value.code == 3
    assert "seed 0: the loss of step 5 is not finite" in capsys.readouterr().err
    assert not (tmp_path / "seed0" / "result.json").exists()
    digests = [record(at, 1)["params_digest"] for at in (tmp_path, alone)]
    assert digests[0] == digests[1]


POISON = {"poison": 5, "epochs": 2}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workdir", "out"], "in which {seed} stands for the seed"),
        (["--workdir", "{seed}", "--profile", "1:2"], "--profile and --vmap-seeds"),
        (["--workdir", "{seed}", "--dry-run"], "leave --vmap-seeds out"),
        (["--workdir", "{seed}", "--devices", "2"], "add --devices 1"),
        (["--workdir", "{seed}", "--vmap-seeds", "1", "1"], "names a seed twice"),
    ],
)
def test_what_does_not_go_with_seeds_in_lockstep(options, message, capsys):
    with pytest.raises(SystemExit) as end:
        train("--vmap-seeds", 0, 1, *options)
    assert end.value.code == 2
    assert message in capsys.readouterr().err
