"""Searches: what is proposed, what is continued, and which way is better."""

import json
import math
import sys
from pathlib import Path

import pytest

from jaxvision.commands.main import main
from jaxvision.errors import UsageError
from jaxvision.runs import search
from jaxvision.runs.search import Range

FAKE = """
import json, math, pathlib, sys
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
workdir = pathlib.Path(options["--workdir"])
workdir.mkdir(parents=True, exist_ok=True)
(workdir / "runs.txt").open("a").write("ran ")
rate = float(options["--rate"])
if options.get("--fail-above") and rate > float(options["--fail-above"]):
    sys.exit(3)
error = (math.log10(rate) + 2) ** 2 + int(options.get("--width", 0))
better = options.get("--better", "lower")
record = {"seed": int(options["--seed"]), "evaluations": ["validation", "test"],
          "wall_seconds": 1.0, "monitor": "average/score",
          "validation_average_score": error if better == "lower" else -error,
          "test_average_score": 0.0, "measures": {"score": {
              "name": "score", "unit": "", "better": better, "decimals": 3}}}
(workdir / "result.json").write_text(json.dumps(record))
"""
SPACE = ["rate=log:1e-6:1", "width=0,1,2"]


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """An experiment whose score is best at a rate of 0.01 and a width of 0."""
    (tmp_path / "fake_experiment.py").write_text(FAKE)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def optuna():
    return pytest.importorskip("optuna")


def find(trials, folder="out", *options, sampler="tpe", seeds=1, space=SPACE, seed=0):
    search.search(
        "fake_experiment",
        seeds,
        space,
        trials,
        Path(folder),
        options,
        sampler=sampler,
        sampler_seed=seed,
    )
    return json.loads(Path(folder, "search.json").read_text())["trials"]


def test_spaces_are_read():
    assert search.parse_space(
        ["peak-lr=log:1e-4:1e-1", "dropout=linear:0:0.5", "depth=int:2:8", "set=a:b,c"]
    ) == {
        "peak_lr": Range("log", 1e-4, 1e-1),
        "dropout": Range("linear", 0, 0.5),
        "depth": Range("int", 2, 8),
        "set": ["a:b", "c"],
    }


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("rate", "cannot read --space 'rate'"),
        ("rate=log:1", "write rate=log:LOW:HIGH"),
        ("rate=log:a:b", "write rate=log:LOW:HIGH"),
        ("width=int:1.5:2", "write width=int:LOW:HIGH"),
        ("rate=linear:2:1", "first number must be below the second, got 2.0 and 1.0"),
        ("rate=linear:0:inf", "below the second"),
        ("rate=log:0:1", "begins above zero, got 0.0"),
        ("seed=1,2", "seeds are given with --seeds, not with --space"),
    ],
)
def test_spaces_that_cannot_be_read(space, message):
    with pytest.raises(UsageError, match=message):
        search.parse_space([space])


def test_a_number_is_rounded_within_its_range():
    assert Range("log", 1e-4, 1e-1).text(0.0123456) == "0.0123"
    assert Range("linear", 0.12345, 1).text(0.12346) == "0.12346"
    assert Range("int", 2, 8).text(3) == "3"


def test_a_missing_package_is_named_before_any_work(fake, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(SystemExit) as end:
        main(["sweep", "fake_experiment", "--space", *SPACE, "--workdir", "out"])
    assert end.value.code == 2
    assert "pip install 'jaxvision-research[sweep]'" in capsys.readouterr().err
    assert not Path("out").exists()


def test_a_grid_and_a_space_do_not_go_together(fake, capsys):
    with pytest.raises(SystemExit) as end:
        main(["sweep", "fake_experiment", "--space", "a=1,2", "--grid", "b=1,2"])
    assert end.value.code == 2
    assert "either --grid or --space" in capsys.readouterr().err


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_a_search_finds_what_is_better(fake, optuna, better, capsys):
    trials = find(30, "out", "--better", better)
    assert len(trials) == 30
    sign = 1 if better == "lower" else -1
    best = min(trials, key=lambda trial: sign * trial["value"])
    assert best["point"]["width"] == "0"
    assert abs(math.log10(float(best["point"]["rate"])) + 2) < 0.5
    rate, value = best["point"]["rate"], best["value"]
    words = f"best of 30: --rate {rate} --width 0, with validation average/score"
    assert f"{words} {value:.3f}" in capsys.readouterr().out


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_an_interrupted_search_goes_on_as_if_it_had_not_been(fake, optuna, sampler):
    quiet = find(14, "quiet", sampler=sampler)
    find(9, "out", sampler=sampler)
    for trial in quiet[3:5]:  # what was under way, or lost
        point = "-".join(f"{k}={v}" for k, v in trial["point"].items())
        Path("out", f"{point}-seed0", "result.json").unlink()
    assert find(14, "out", sampler=sampler) == quiet
    again = [p.read_text() for p in Path("out").rglob("runs.txt")]
    assert again.count("ran ran ") == 2 and set(again) == {"ran ", "ran ran "}
    assert find(4, "other", sampler=sampler, seed=1) != quiet[:4]


def test_the_value_of_a_point_is_the_mean_over_its_seeds(fake, optuna):
    trials = find(2, seeds=2, space=["rate=0.1"])
    assert [trial["value"] for trial in trials] == [1.0, 1.0]  # the same point twice
    assert len(list(Path("out").rglob("runs.txt"))) == 2


def test_runs_that_fail_are_left_out(fake, optuna, capsys):
    with pytest.raises(SystemExit) as end:
        find(12, "out", "--fail-above", "0.001")
    assert end.value.code == 1
    trials = json.loads(Path("out", "search.json").read_text())["trials"]
    for trial in trials:
        assert (trial["value"] is None) == (float(trial["point"]["rate"]) > 0.001)
    assert 0 < sum(trial["value"] is None for trial in trials) < 12


def test_another_search_in_the_same_folder_is_refused(fake, optuna):
    find(1)
    with pytest.raises(UsageError, match="sampler: was tpe, now random"):
        find(1, sampler="random")


@pytest.mark.parametrize("text", ["", "[1, 2]", '{"trials": 3}', "\xff"])
def test_a_damaged_search_is_named(fake, text):
    file = Path("search.json")
    file.write_text(text, encoding="latin-1")
    with pytest.raises(UsageError, match="remove it to begin the search anew"):
        search._known_points(file, {})
