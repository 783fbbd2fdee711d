"""Stalls, bad losses, vanished folders: the run ends with a reason, or goes on."""

import errno
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from rich.console import Console
from test_processes import rows

from jaxvision import optim
from jaxvision.engine import sharding, snapshot
from jaxvision.engine.bad_loss import Diverged
from jaxvision.engine.checkpoint import CheckpointError
from jaxvision.engine.loop import Maintenance, fit
from jaxvision.engine.state import digest
from jaxvision.runs import run
from tests.tiny import Config, build

ROOT = Path(__file__).parent.parent


def train(workdir, experiment, **maintenance):
    workdir.mkdir(exist_ok=True)
    with open(workdir / "console.txt", "a", encoding="utf-8") as file:
        return fit(
            experiment,
            workdir,
            mesh=sharding.make_mesh(1),
            console=Console(file=file, width=250),
            maintenance=Maintenance(**maintenance),
        )


def await_file(path):
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} was not written"
        time.sleep(0.01)


def said(workdir):
    return (workdir / "console.txt").read_text()


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    return train(tmp_path_factory.mktemp("quiet"), build(Config()))


def test_a_nan_stops_the_run_and_its_batch_is_kept(tmp_path):
    with pytest.raises(Diverged, match="loss of step 11 is not finite"):
        train(tmp_path, build(Config(poison=11)))
    kept = np.load(tmp_path / "bad_batches" / "step-11.npz")
    assert np.isnan(kept["item/factor"]).all() and np.isnan(kept["batch/image"]).all()
    # Item 3 of the second epoch.
    items = build(Config()).train.items()
    item = [next(items) for _ in range(12)][-1]
    np.testing.assert_array_equal(kept["item/index"], item["index"])


def test_a_skipped_step_has_no_effect_and_is_counted(tmp_path):
    experiment = build(Config(poison=11))._replace(on_bad_loss="skip")
    fitted = train(tmp_path, experiment)
    assert "loss of step 11 is not finite" in said(tmp_path)
    assert "the step had no effect" in said(tmp_path)
    assert [row["skipped_steps"] for row in rows(tmp_path)] == [0, 1, 1]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(fitted.last.params))
    assert int(fitted.last.step) == experiment.steps
    assert (tmp_path / "bad_batches" / "step-11.npz").exists()


def test_a_row_whose_steps_were_all_skipped_has_no_metrics(tmp_path):
    experiment = build(Config(poison=11, epochs=2))
    train(tmp_path, experiment._replace(on_bad_loss="skip", log_every=1))
    row = {row["step"]: row for row in rows(tmp_path)}
    assert "train/loss" in row[11] and "train/loss" not in row[12]
    assert row[12]["skipped_steps"] == 1 and row[12]["learning_rate"] > 0


@pytest.mark.parametrize("on_bad_loss", ["stop", "skip"])
def test_parameters_that_are_not_finite_are_bad_whatever_the_loss(
    tmp_path, on_bad_loss
):
    """Item 11 has no finite gradient, and the loss does not tell."""
    experiment = build(Config(poison=11))
    task = experiment.task

    def loss(forward, batch, *, key):
        (total, weight), aux = task.loss(forward, batch, key=key)
        return (jax.numpy.nan_to_num(total), weight), aux

    hiding = task._replace(loss=loss)
    experiment = experiment._replace(task=hiding, on_bad_loss=on_bad_loss)
    if on_bad_loss == "stop":
        with pytest.raises(Diverged, match=r"after step 11, of loss 0, .* not finite"):
            train(tmp_path, experiment)
        return
    fitted = train(tmp_path, experiment)
    assert [row["skipped_steps"] for row in rows(tmp_path)] == [0, 1, 1]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(fitted.last.params))


def test_skipping_without_anything_bad_changes_nothing(tmp_path, quiet):
    fitted = train(tmp_path, build(Config())._replace(on_bad_loss="skip", spike=50.0))
    for one, other in zip(
        jax.tree.leaves(fitted.last.params),
        jax.tree.leaves(quiet.last.params),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_a_roll_back_leaves_the_batch_out(tmp_path):
    experiment = build(Config(poison=11))._replace(on_bad_loss="rollback")
    fitted = train(tmp_path, experiment)
    assert re.search("back to where the last good checkpoint is step 8", said(tmp_path))
    assert int(fitted.last.step) == experiment.steps

    # The same as a run whose data never held item 11.
    class Without:
        def __init__(self, rows=slice(None)):
            self._items, self._drawn = build(Config()).train.items(rows), 0

        def __next__(self):
            if self._drawn == 11:
                next(self._items)
            self._drawn += 1
            return next(self._items)

        def get_state(self):
            return self._items.get_state()

    clean = build(Config())
    clean = clean._replace(train=clean.train._replace(items=Without))
    expected = train(tmp_path / "clean", clean)
    assert digest(fitted.last.params) == digest(expected.last.params)


@pytest.mark.slow
def test_what_is_always_bad_ends_even_with_roll_backs(tmp_path):
    experiment = build(Config())._replace(
        on_bad_loss="rollback", optimizer=optim.sgd(lambda step: 1e38)
    )
    with pytest.raises(Diverged, match="after 10 batches were left out"):
        train(tmp_path, experiment)


def test_a_spike_is_recognised(tmp_path):
    # Three steps that tear the parameters apart, long after the loss has settled.
    jump = optim.sgd(lambda step: jax.numpy.where((step > 14) & (step < 18), 50, 0.01))
    with pytest.raises(
        Diverged, match=r"loss of step 1[6-9] .* is a spike, at learning"
    ):
        train(tmp_path, build(Config())._replace(optimizer=jump, spike=5.0))


def test_checkpoints_by_steps_change_no_bit(tmp_path, quiet):
    fitted = train(tmp_path, build(Config()), save_every_steps=3)
    assert digest(fitted.last.params) == digest(quiet.last.params)
    steps = {int(p.name) for p in (tmp_path / "checkpoints").glob("[0-9]*")}
    # Dispatches of two: the first to end at or after 21 and 24.
    assert {22, 24} <= steps


def test_checkpoints_by_minutes(tmp_path, quiet):
    experiment = build(Config(pause=0.05))
    fitted = train(tmp_path, experiment, save_every_minutes=0.001)
    assert digest(fitted.last.params) == digest(quiet.last.params)
    steps = [int(p.name) for p in (tmp_path / "checkpoints").glob("[0-9]*")]
    assert any(step % 8 for step in steps)


def test_a_vanished_workdir_ends_the_run_with_the_reason(tmp_path):
    experiment = build(Config())

    class Items:
        def __init__(self, rows=slice(None)):
            self._items, self._drawn = experiment.train.items(rows), 0

        def __next__(self):
            self._drawn += 1
            if self._drawn == 14:
                # Else the thread that writes the checkpoint may be the first to fail.
                await_file(tmp_path / "run" / "checkpoints" / "8")
                (tmp_path / "run").rename(tmp_path / "gone")
            return next(self._items)

        def get_state(self):
            return self._items.get_state()

    with pytest.raises(CheckpointError, match="the log could not be written"):
        train(
            tmp_path / "run",
            experiment._replace(train=experiment.train._replace(items=Items)),
        )


def exit_code(*arguments):
    """Of the tiny experiment, run to its end in this process."""
    with pytest.raises(SystemExit) as end:
        run(build, Config, smoke={}, arguments=list(map(str, arguments)))
    return end.value.code


def test_a_disk_that_fails_during_the_run_ends_it_with_a_code_of_its_own(
    tmp_path, capsys, monkeypatch
):
    """What the system says of a disk that was mounted again, but read-only."""
    write, written = snapshot.write, []

    def read_only(folder, taken, extra):
        if taken.step > 8:
            raise OSError(errno.EROFS, "Read-only file system")
        write(folder, taken, extra)
        written.append(taken.step)

    monkeypatch.setattr(snapshot, "write", read_only)
    options = ["--workdir", str(tmp_path / "run"), "--devices", "1", "--pause", "0.01"]
    assert exit_code(*options) == 4
    message = capsys.readouterr().err
    assert "Read-only file system" in message
    assert "the last good one is step 8" in message
    assert "Traceback" not in message

    monkeypatch.undo()
    run(build, Config, smoke={}, arguments=options)
    assert "continuing after step 8" in capsys.readouterr().out


def test_checkpoints_whose_folder_is_gone_end_the_run(tmp_path):
    """A file lies where the folder was, which stops root too."""
    experiment = build(Config())
    folder = tmp_path / "run" / "checkpoints"

    class Items:
        def __init__(self, rows=slice(None)):
            self._items, self._drawn = experiment.train.items(rows), 0

        def __next__(self):
            self._drawn += 1
            if self._drawn == 14:
                folder.rename(tmp_path / "gone")
                folder.write_text("")
            return next(self._items)

        def get_state(self):
            return self._items.get_state()

    broken = experiment._replace(train=experiment.train._replace(items=Items))
    with pytest.raises(CheckpointError, match="a checkpoint could not be written"):
        train(tmp_path / "run", broken)
    folder.unlink()
    (tmp_path / "gone").rename(folder)
    assert int(train(tmp_path / "run", experiment).last.step) == experiment.steps


@pytest.mark.skipif(not os.path.isdir("/sys/kernel"), reason="needs Linux")
def test_a_read_only_workdir_is_refused_before_anything_is_done(capsys):
    # Nobody can make a folder there, not even root.
    assert exit_code("--workdir", "/sys/kernel/jaxvision-run") == 2
    message = capsys.readouterr().err
    assert "the run directory /sys/kernel/jaxvision-run cannot be written" in message
    assert "choose another --workdir" in message


@pytest.mark.slow
def test_a_hung_pipeline_is_ended_with_the_stacks(tmp_path):
    """In a process of its own, which the watchdog ends."""
    command = [sys.executable, "-m", "tests.tiny", "--workdir", str(tmp_path / "run"),
               "--hang-at", "12", "--stall-timeout", "8"]  # fmt: skip
    environment = os.environ | {"XLA_FLAGS": ""}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 6, done.stderr
    assert "--stall-timeout" in done.stderr
    assert "the last good checkpoint is step 8" in done.stderr
    stacks = (tmp_path / "run" / "stalled-0.txt").read_text()
    assert "tiny.py" in stacks and "__next__" in stacks

    done = subprocess.run(
        command, cwd=ROOT, env=environment | {"NO_HANG": "1"}, capture_output=True,
        text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_averages_are_evaluated_beside_the_raw_parameters(tmp_path, quiet):
    fitted = train(tmp_path, build(Config())._replace(average=optim.ema(0.5)))
    # It takes no part in the training.
    assert digest(fitted.last.params) == digest(quiet.last.params)
    last = rows(tmp_path)[-1]
    assert last["validation/average/loss"] != last["validation/loss"]
    assert last["validation/average/accuracy"] > 0.25


def test_the_trace_of_some_steps_is_written(tmp_path):
    train(tmp_path, build(Config(epochs=1)), profile=(2, 4))
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))
