"""Checkpoints are written beside the training, and hold what was there when asked."""

import errno
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.engine import snapshot
from jaxvision.engine.checkpoint import CheckpointError, Checkpoints
from jaxvision.engine.state import TrainState


@pytest.fixture
def checkpoints(tmp_path):
    made = Checkpoints(tmp_path / "checkpoints", warn=print)
    yield made
    made.close()


def state_after(step):
    params = {"kernel": jnp.full((64, 8), step, jnp.float32)}
    key = jax.random.key_data(jax.random.key(0))
    return TrainState(jnp.int32(step), params, {}, (), key, {"loss": jnp.float32(step)})


@pytest.fixture
def gate(monkeypatch):
    """Nothing is written before it is set."""
    gate, write = threading.Event(), snapshot.write

    def waiting(*arguments):
        assert gate.wait(60)
        write(*arguments)

    monkeypatch.setattr(snapshot, "write", waiting)
    yield gate
    gate.set()


def test_a_save_waits_for_no_writing_and_counts_when_it_is_complete(
    tmp_path, checkpoints, gate
):
    checkpoints.save(state_after(1), {}, score=None)  # returns, though nobody writes
    assert checkpoints.busy()
    checkpoints.check()
    # What a run that starts after a kill would find now.
    other = Checkpoints(tmp_path / "checkpoints", warn=print)
    assert other.restore_latest(state_after(0)) is None
    other.close()
    assert not (tmp_path / "checkpoints" / "1").exists()


def test_the_newest_the_best_and_every_so_many_are_kept(tmp_path):
    for keep_every, kept in ((None, [2, 6, 7]), (3, [2, 3, 6, 7])):
        made = Checkpoints(
            tmp_path / str(keep_every), keep_every=keep_every, warn=print
        )
        for step in range(1, 8):
            made.save(state_after(step), {}, score=float(step == 2))
        made.wait()
        assert made.steps() == kept
        made.close()


def test_what_is_saved_is_the_state_at_that_time(checkpoints, gate):
    """The next steps are given the memory of the state, before it is written."""
    state = state_after(1)
    train = jax.jit(
        lambda state: jax.tree.map(lambda x: x + 1, state), donate_argnums=0
    )
    checkpoints.save(state, {"batch": 5}, score=None)
    for _ in range(3):
        state = train(state)
    jax.block_until_ready(state)
    gate.set()
    checkpoints.wait()
    restored = checkpoints.restore_latest(state)
    assert (restored.step, restored.extra["batch"]) == (1, 5)
    np.testing.assert_array_equal(restored.state.params["kernel"], np.ones((64, 8)))
    # The second snapshot fills the memory of the first.
    checkpoints.save(state, {}, score=None)
    checkpoints.wait()
    for step, value in ((1, 1), (4, 4)):
        found = checkpoints._first_readable([step], state)
        assert (np.asarray(found.state.params["kernel"]) == value).all()


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_what_fails_in_the_thread_is_one_error_with_the_last_good_step(
    checkpoints, monkeypatch, reason
):
    checkpoints.save(state_after(1), {}, score=None)
    checkpoints.wait()

    def fail(*_):
        raise OSError(reason, errno.errorcode[reason])

    monkeypatch.setattr(snapshot, "write", fail)
    checkpoints.save(state_after(2), {}, score=None)
    with pytest.raises(CheckpointError, match=r"E[A-Z]+.*last good one is step 1\."):
        for _ in range(500):  # as the loop does, between its dispatches
            checkpoints.check()
            time.sleep(0.01)
    checkpoints.check()  # told once
    assert checkpoints.restore_latest(state_after(0)).step == 1


def test_the_next_save_tells_of_the_one_that_failed(checkpoints, monkeypatch):
    def fail(*_):
        raise OSError("no disk")

    monkeypatch.setattr(snapshot, "write", fail)
    checkpoints.save(state_after(1), {}, score=None)
    with pytest.raises(CheckpointError, match=r"no disk.*good one is none"):
        checkpoints.save(state_after(2), {}, score=None)


def test_a_log_that_cannot_be_written_leaves_no_checkpoint(tmp_path, checkpoints):
    def gone():
        raise OSError("no log")

    checkpoints.save(state_after(1), {}, score=None, log=gone)
    with pytest.raises(CheckpointError, match="the log could not be written"):
        checkpoints.wait()
    assert checkpoints.steps() == []
    assert not (tmp_path / "checkpoints" / "1").exists()


@pytest.mark.parametrize(
    ("scores", "kept", "best"),
    [
        ([0.9, None, 0.2, 0.3], [1, 3, 4], 1),  # None: it was not finite
        ([0.9, 0.2, 0.3, None], [1, 3, 4], 1),
        ([0.5, 0.5, 0.1, 0.1], [2, 3, 4], 2),
        ([None, None, None, None], [3, 4], None),
    ],
)
def test_what_has_no_score_ranks_last(tmp_path, checkpoints, scores, kept, best):
    for step, score in enumerate(scores, start=1):
        checkpoints.save(state_after(step), {}, score=score)
    checkpoints.wait()
    assert checkpoints.steps() == kept == snapshot.steps(tmp_path / "checkpoints")
    # Also for a process that has not written them.
    other = Checkpoints(tmp_path / "checkpoints", warn=print)
    for each in (checkpoints, other):
        found = each.restore_best(state_after(0))
        assert (found and found.step) == best
    other.close()


def test_what_is_no_fault_of_the_disk_is_not_called_one(checkpoints):
    checkpoints.save(state_after(1), {"function": print}, score=None)
    with pytest.raises(TypeError, match="JSON serializable"):
        checkpoints.wait()
