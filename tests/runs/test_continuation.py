"""More epochs for a finished run: it goes on, exactly, and the record says so."""

import os
import shutil
import signal
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import models, optim, tasks
from jaxvision.engine import snapshot
from jaxvision.engine.history import read_rows
from jaxvision.files import read_object
from jaxvision.runs import run
from jaxvision.types import Experiment, Stop
from tests import tiny
from tests.engine.test_loop import TIMINGS

pytestmark = pytest.mark.slow

# An epoch has eight steps.


@dataclass(frozen=True)
class Config(tiny.Config):
    epochs: float = 3


def build(config) -> Experiment:
    """The tiny experiment without its crops, which take long to compile."""
    experiment = tiny.build(config)
    plain = experiment.train._replace(transform=experiment.test.transform)
    return experiment._replace(
        model=models.create("mlp", hidden=(8,), num_classes=4),
        task=tasks.classification(4),
        train=plain,
    )


def start(workdir, *options, build=build):
    """Exit code, and the record."""
    arguments = ["--devices", "1", "--workdir", str(workdir), *map(str, options)]
    try:
        return 0, run(build, Config, smoke={}, arguments=arguments, name="tests.tiny")
    except SystemExit as end:
        return end.code, None


def epochs(number):
    return "--epochs", number


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of two epochs with an average."""
    workdir = tmp_path_factory.mktemp("runs") / "short"
    assert start(workdir, *epochs(2), "--ema", 0.9)[0] == 0
    return workdir


@pytest.fixture
def workdir(finished, tmp_path):
    """A copy of it."""
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture(scope="module")
def longer(finished, tmp_path_factory):
    """The same continued to four epochs: its directory, its record and its output."""
    workdir = tmp_path_factory.mktemp("runs") / "long"
    shutil.copytree(finished, workdir)
    shutil.copytree(workdir / "checkpoints" / "8", workdir.parent / "first")
    return workdir, start(workdir, *epochs(4), "--ema", 0.9)[1]


def state(workdir, step):
    """All arrays of a checkpoint."""
    folder = snapshot.step_folder(workdir / "checkpoints", step)
    with np.load(folder / "shards-0.npz") as archive:
        return {n: archive[n] for n in archive.files if n != snapshot.CONTENTS}


def log(workdir):
    rows = read_rows(workdir / "metrics.jsonl")
    return [{k: v for k, v in row.items() if k not in TIMINGS} for row in rows]


def test_the_longer_run_goes_on_from_the_last_step_with_its_own_schedule(
    finished, longer
):
    workdir, result = longer
    assert (result["config_epochs"], result["steps"], result["epochs"]) == (4, 32, 4)
    before, after = log(finished), log(workdir)
    assert [row["step"] for row in after] == [8, 16, 24, 32]
    assert after[:2] == before
    rates = [row["learning_rate"] for row in after]
    assert rates[1] < 0.01 < rates[2]  # it had ended, and jumps up
    assert state(workdir, 32).keys() >= {"params/Dense_0/bias[0:8]", "step[]"}


def test_the_record_says_what_was_before(finished, longer):
    short = read_object(finished / "result.json")
    (entry,) = longer[1]["continued_from"]
    assert entry["epochs"] == 2 and entry["steps"] == 16
    for name in ("test_accuracy", "validation_average_loss", "best_step"):
        assert entry[name] == short[name]
    schedule = optim.warmup_cosine(0.05, steps=32, warmup=3)
    assert entry["next_learning_rate"] == pytest.approx(float(schedule(16)))
    assert entry["last_learning_rate"] == log(finished)[-1]["learning_rate"]
    assert read_object(longer[0] / "result-16.json") == short
    assert read_object(longer[0] / "config.json")["continued_from"] == [entry]


def test_it_is_said_at_which_rate_it_goes_on(workdir, capsys):
    # Nothing is begun.
    assert start(workdir, *epochs(4), "--ema", 0.9, "--dry-run")[0] == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "finished after 2 epochs, 16 steps, and goes on to 32" in said
    short, long = (optim.warmup_cosine(0.05, steps=n, warmup=3) for n in (16, 32))
    rates = f"{long(16):.3g} after {short(15):.3g} of the shorter one"
    assert f"at a learning rate of {rates}" in said
    assert read_object(workdir / "config.json")["config_epochs"] == 2
    assert (workdir / "result.json").exists()


def test_the_average_goes_on_where_it_was(finished, longer, workdir):
    """One step later it has moved from the old average, by a tenth at most."""
    assert start(workdir, *epochs(2.125), "--ema", 0.9)[0] == 0
    name = "average/params/Dense_0/bias[0:8]"
    before, after = state(finished, 16), state(workdir, 17)
    newest = after["params/Dense_0/bias[0:8]"]
    expected = before[name] + 0.1 * (newest - before[name])
    np.testing.assert_allclose(after[name], expected, rtol=1e-5, atol=1e-7)


def interrupted_at(step):
    """The tiny experiment, with a signal while the item of a step is drawn."""

    def interrupted(config) -> Experiment:
        experiment = build(config)

        class Items(experiment.train.items):
            def __next__(self):
                found = self.get_state()
                if found["epoch"] * 8 + found["batch"] == step:
                    os.kill(os.getpid(), signal.SIGINT)
                return super().__next__()

        return experiment._replace(train=experiment.train._replace(items=Items))

    return interrupted


@pytest.mark.parametrize("step", [17, 26])
def test_an_interrupted_continuation_ends_with_the_same_bits(
    workdir, longer, step, capsys
):
    options = [*epochs(4), "--ema", 0.9]
    assert start(workdir, *options, build=interrupted_at(step))[0] == 130
    assert not (workdir / "result.json").exists()
    code, result = start(workdir, *options)
    assert code == 0
    assert "continuing after step" in capsys.readouterr().out
    assert log(workdir) == log(longer[0])
    for name, array in state(longer[0], 32).items():
        np.testing.assert_array_equal(state(workdir, 32)[name], array, err_msg=name)
    for name in ("params_digest", "best_params_digest", "continued_from"):
        assert result[name] == longer[1][name]
    assert start(workdir, *options)[1] == result  # finished


def test_a_crash_between_config_and_record_loses_nothing(workdir, longer, monkeypatch):
    def crash(*_):
        raise SystemExit(9)

    options = [*epochs(4), "--ema", 0.9]
    monkeypatch.setattr("jaxvision.runs.workdir.keep_shorter_record", crash)
    assert start(workdir, *options)[0] == 9
    monkeypatch.undo()
    # The record there is of the shorter run: neither more nor fewer epochs now.
    assert start(workdir, *epochs(6), "--ema", 0.9)[0] == 2
    assert start(workdir, *options)[1]["params_digest"] == longer[1]["params_digest"]
    assert (workdir / "result-16.json").exists()


def test_it_can_be_continued_again(longer, tmp_path):
    workdir = shutil.copytree(longer[0], tmp_path / "run")
    result = start(workdir, *epochs(5), "--ema", 0.9)[1]
    assert [each["epochs"] for each in result["continued_from"]] == [2, 4]
    assert result["steps"] == 40


def unlearning(config) -> Experiment:
    """Whatever follows two epochs makes the network worse."""
    return build(config)._replace(
        optimizer=optim.sgd(lambda step: jnp.where(step < 16, 0.05, -0.02)),
        monitor="loss",
    )


def test_the_best_checkpoint_of_before_counts(tmp_path):
    before = start(tmp_path, *epochs(2), build=unlearning)[1]
    result = start(tmp_path, *epochs(4), build=unlearning)[1]
    assert result["best_step"] == before["best_step"] <= 16
    assert result["best_params_digest"] == before["best_params_digest"]
    assert result["test_accuracy"] == before["test_accuracy"]
    assert result["params_digest"] != before["params_digest"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (epochs(1), "a run of 2 epochs, and --epochs 1 is not more than that"),
        ((*epochs(4), "--seed", 1), "seed: was 0, now 1"),
        (epochs(2.01), "asks for 16 steps, and the run was finished with 16"),
    ],
)
def test_what_is_no_longer_run_of_the_same_is_refused(workdir, capsys, options, words):
    assert start(workdir, *options, "--ema", 0.9)[0] == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert read_object(workdir / "config.json")["config_epochs"] == 2
    assert start(workdir, *epochs(2), "--ema", 0.9)[0] == 0


def test_an_unfinished_run_is_to_be_finished_first(tmp_path, capsys):
    assert start(tmp_path, *epochs(2), build=interrupted_at(9))[0] == 130
    capsys.readouterr()
    assert start(tmp_path, *epochs(4))[0] == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "finish it with --epochs 2, then continue it with --epochs 4" in said
    assert start(tmp_path, *epochs(2))[0] == 0


def cut(file):
    file.write_bytes(file.read_bytes()[:-200])


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


LAST = "checkpoints/16/state/shards-0.npz"


@pytest.mark.parametrize(
    ("file", "damage", "words"),
    [
        (LAST, cut, "the checkpoint of its last step 16 is damaged"),
        (LAST, flip, "the checkpoint of its last step 16 is damaged"),
        ("checkpoints", shutil.rmtree, "no checkpoint of its last step 16"),
        ("result.json", cut, "with --epochs 2 tests the run again"),
    ],
)
def test_a_damaged_run_is_not_continued_from_elsewhere(
    workdir, capsys, file, damage, words
):
    damage(workdir / file)
    before = (workdir / "config.json").read_bytes()
    assert start(workdir, *epochs(4), "--ema", 0.9)[0] == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert (workdir / "config.json").read_bytes() == before


def test_no_step_of_the_shorter_run_is_repeated_with_the_longer_schedule(
    workdir, longer, capsys
):
    """Where the last step of the shorter run is lost as well."""
    options = [*epochs(4), "--ema", 0.9]
    assert start(workdir, *options, build=interrupted_at(17))[0] == 130
    for file in (workdir / "checkpoints").glob("[1-9][0-9]/state/shards-0.npz"):
        cut(file)
    if not (workdir / "checkpoints" / "8").exists():
        shutil.copytree(longer[0].parent / "first", workdir / "checkpoints" / "8")
    assert start(workdir, *options)[0] == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "of step 8, is in the middle of a run of 16 steps" in said


def stopping(config) -> Experiment:
    """Wants to stop after each second epoch."""
    return build(config)._replace(
        optimizer=optim.sgd(optim.constant(0.05)),
        on_evaluation=lambda moment: Stop("enough") if moment.step % 16 == 0 else None,
    )


def test_a_run_that_was_stopped_goes_on_until_it_is_stopped_again(tmp_path):
    record = start(tmp_path, *epochs(3), build=stopping)[1]
    assert (record["steps"], record["planned_steps"]) == (16, 24)
    record = start(tmp_path, *epochs(6), build=stopping)[1]
    assert (record["steps"], record["planned_steps"]) == (32, 48)
    (entry,) = record["continued_from"]
    assert entry["stopped"] == "enough" and entry["planned_steps"] == 24


def test_seeds_in_lockstep_are_continued_each_by_itself(tmp_path, finished):
    options = ["--vmap-seeds", 0, 1, "--ema", 0.9]
    workdir = tmp_path / "{seed}"
    for number in (2, 4):
        assert start(workdir, *epochs(number), *options)[0] == 0
    alone = shutil.copytree(finished, tmp_path / "alone")
    alone = start(alone, *epochs(4), "--ema", 0.9)[1]
    for seed in (0, 1):
        result = read_object(tmp_path / str(seed) / "result.json")
        assert [each["steps"] for each in result["continued_from"]] == [16]
    first = read_object(tmp_path / "0" / "result.json")
    assert first["params_digest"] == alone["params_digest"]
