"""Runs that end before their last step because a hook says so."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from rich.console import Console

from jaxvision.engine import sharding
from jaxvision.engine.loop import Interrupted, fit
from jaxvision.errors import UsageError
from jaxvision.measures import Measure
from jaxvision.runs import early_stopping, run
from jaxvision.types import Moment, Stop
from tests import tiny
from tests.engine.test_loop import Config, build, fingerprints, interrupting, rows


def moment(values, better="higher"):
    measure = Measure("score", "", better, 2)
    history = [{"step": i, "score": value} for i, value in enumerate(values)]
    return Moment(len(values), {}, None, history[-1], measure, history)


@pytest.mark.parametrize(
    ("values", "better", "options", "stops"),
    [
        ([1.0, 2.0, 3.0], "higher", {}, False),
        ([1.0, 3.0, 2.0], "higher", {}, False),
        ([1.0, 3.0, 2.0, 3.0], "higher", {}, True),
        ([1.0, 3.0, 2.0, 2.5, 4.0], "higher", {}, False),
        ([3.0, 1.0, 2.0, 2.0], "lower", {}, True),
        ([3.0, 2.0, 1.0], "lower", {}, False),
        ([1.0, 1.1, 1.2], "higher", {"min_delta": 0.5}, True),
        ([1.0, 1.4, 1.8], "higher", {"min_delta": 0.5}, False),
        ([1.0, float("nan"), float("nan")], "higher", {}, True),
    ],
)
def test_patience_counts_validations_without_a_better_one(
    values, better, options, stops
):
    answer = early_stopping(2, **options)(moment(values, better))
    assert isinstance(answer, Stop) == stops


def test_the_reason_names_metric_value_and_patience():
    answer = early_stopping(2)(moment([1.0, 3.0, 2.0, 3.0]))
    assert answer.reason == "no better score than 3.00 in 2 validations"


def test_what_cannot_be_patience_is_refused():
    with pytest.raises(UsageError, match="at least 1 validation, got 0"):
        early_stopping(0)
    with pytest.raises(UsageError, match="min_delta must not be negative, got -1"):
        early_stopping(1, min_delta=-1)


def train(workdir, experiment, decide):
    workdir.mkdir(exist_ok=True)
    return fit(
        experiment,
        workdir,
        mesh=sharding.make_mesh(1),
        console=Console(quiet=True),
        on_evaluation=decide,
    )


def after_three(moment):
    return "enough" if len(moment.history) == 3 else None


@pytest.mark.slow
def test_an_interrupted_run_stops_where_a_quiet_one_does(tmp_path):
    experiment = build(Config(epochs=6))  # of four steps
    quiet = train(tmp_path / "quiet", experiment, after_three)
    assert quiet.stopped == "enough" and int(quiet.last.step) == 12
    with pytest.raises(Interrupted):
        train(tmp_path / "run", interrupting(experiment, 9), after_three)
    again = train(tmp_path / "run", experiment, after_three)
    assert again.stopped == "enough"
    assert fingerprints(again) == fingerprints(quiet)
    assert rows(tmp_path / "run") == rows(tmp_path / "quiet")

    # Killed after the decision and before the record: nothing is trained or asked anew.
    def never(moment):
        raise AssertionError("asked again")

    done = train(tmp_path / "run", experiment, never)
    assert done.stopped == "enough"
    assert fingerprints(done) == fingerprints(quiet)


def stopping(config):
    return tiny.build(config)._replace(
        on_evaluation=lambda moment: Stop("no use") if moment.step >= 8 else None
    )


LOCKSTEP = pytest.param(["--vmap-seeds", "0", "1"], marks=pytest.mark.slow)


@pytest.mark.parametrize("seeds", [[], LOCKSTEP])
def test_the_record_says_that_a_run_was_stopped(tmp_path, seeds, capsys):
    workdir = tmp_path / "{seed}" if seeds else tmp_path / "0"
    arguments = ["--devices", "1", "--workdir", str(workdir), *seeds]
    run(stopping, tiny.Config, smoke={}, arguments=arguments)
    assert "stopping after step 8: no use" in capsys.readouterr().out
    for seed in range(len(seeds[1:]) or 1):
        result = json.loads((tmp_path / str(seed) / "result.json").read_text())
        assert result["stopped"] == "no use"
        assert result["steps"] == 8 and result["epochs"] == 1
        assert result["planned_steps"] == 24 and "test_accuracy" in result


def disagreeing(config):
    """Process 0 wants to stop after step 16, process 1 after step 8."""
    last = 16 - 8 * jax.process_index()
    return tiny.build(config)._replace(
        on_evaluation=lambda moment: Stop("no use") if moment.step >= last else None
    )


@pytest.mark.slow
def test_process_0_decides_for_all(tmp_path):
    command = [sys.executable, "-m", "jaxvision", "launch", "--processes", "2",
               "--devices", "1", "-m", "tests.runs.test_early_stopping",
               "--workdir", str(tmp_path / "run")]  # fmt: skip
    root = Path(__file__).parents[2]
    done = subprocess.run(
        command, cwd=root, env=os.environ, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["steps"] == 16 and result["stopped"] == "no use"


if __name__ == "__main__":
    run(disagreeing, tiny.Config, smoke={})
