"""The loop: golden numbers, exact resumption, any number of devices, and disasters."""

import dataclasses
import json
import math
import os
import shutil
import signal
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from jaxvision import data, models, optim, tasks
from jaxvision.engine import sharding, snapshot
from jaxvision.engine.bad_loss import Diverged
from jaxvision.engine.checkpoint import CheckpointError, Checkpoints
from jaxvision.engine.compilation import CompileClock
from jaxvision.engine.loop import Interrupted, Maintenance, fit
from jaxvision.engine.state import digest
from jaxvision.engine.step import Constants, make_init, make_train_step
from jaxvision.errors import UsageError
from jaxvision.ops.augment import compose, normalise, random_flip, random_shift
from jaxvision.runs import load_variables
from jaxvision.types import Evaluation, Experiment

CLOCK = CompileClock()
TIMINGS = {
    "seconds", "images_per_second", "data_wait", "dispatch", "device", "memory_gb"
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Config:
    """Random training of a network in miniature, which is compiled some fifty times.

    The stem of a residual network and its classifier: a convolution, running averages
    and a linear layer are all that the loop can tell apart.  `tests.tiny` has blocks.
    """

    seed: int = 0
    epochs: int = 4
    batch_size: int = 16
    learning_rate: float = 0.8
    steps_per_dispatch: int = 2
    eval_batch_size: int = 17


def build(config: Config) -> Experiment:
    splits = data.load("synthetic:8x8x3:4")
    train, validation = data.carve(splits.train, 37)
    train = train._replace(size=64, read=lambda read=train.read: first(64, read()))
    prepare = normalise(0.5, 0.25)
    augment = compose(random_shift(1), random_flip, prepare)
    train_data = data.train(
        train, config.batch_size, transform=augment, seed=config.seed
    )
    return Experiment(
        model=models.create("resnet20", blocks=0, width=4, num_classes=4),
        task=tasks.classification(4, label_smoothing=0.1, top_k=2),
        optimizer=optim.sgd(
            optim.warmup_cosine(
                config.learning_rate, steps=train_data.steps(config.epochs), warmup=3
            ),
            momentum=0.9,
            weight_decay=1e-3,
        ),
        train=train_data,
        validation=data.evaluation(
            validation, config.eval_batch_size, transform=prepare
        ),
        test=data.evaluation(splits.test, config.eval_batch_size, transform=prepare),
        steps=train_data.steps(config.epochs),
        seed=config.seed,
        steps_per_dispatch=config.steps_per_dispatch,
    )


def first(count, arrays):
    return {name: array[:count] for name, array in arrays.items()}


def train(workdir, experiment=None, *, devices=1, **options):
    workdir.mkdir(exist_ok=True)
    with open(workdir / "console.txt", "a", encoding="utf-8") as file:
        return fit(
            experiment or build(Config()),
            workdir,
            mesh=sharding.make_mesh(devices),
            console=Console(file=file, width=200),
            compile_seconds=CLOCK,
            **options,
        )


def rows(workdir):
    """The rows of metrics without what a clock measured."""
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [
        {name: value for name, value in json.loads(line).items() if name not in TIMINGS}
        for line in lines
    ]


def fingerprints(fitted):
    return [digest(state) for state in (fitted.last, fitted.best)]


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """A run that nothing disturbed: its directory and its result."""
    workdir = tmp_path_factory.mktemp("quiet")
    return workdir, train(workdir)


def interrupting(experiment, at, *, number=signal.SIGINT, wait=0.0):
    """The experiment, with a signal while the item numbered `at` is drawn."""

    class Items:
        def __init__(self, rows=slice(None)):
            self._items, self._drawn = experiment.train.items(rows), 0

        def __next__(self):
            time.sleep(wait)
            if self._drawn == at:
                os.kill(os.getpid(), number)
            self._drawn += 1
            return next(self._items)

        def get_state(self):
            return self._items.get_state()

        def set_state(self, state):
            self._items.set_state(state)

    return experiment._replace(train=experiment.train._replace(items=Items))


def test_the_first_epoch_is_golden(quiet):
    """Frozen on one machine; others round differently, but not by much."""
    got = rows(quiet[0])[0]
    assert got["step"] == 4
    for name, value in GOLDEN.items():
        assert got[name] == pytest.approx(value, rel=2e-3), name


GOLDEN = {"train/loss": 1.47271, "validation/loss": 1.37326}


def test_a_row_has_the_mean_norm_of_the_gradients(tmp_path):
    """Of a network that compiles fast."""
    model = models.create("mlp", hidden=(16,), num_classes=4)
    experiment = build(Config())._replace(model=model)
    norms = {}
    for every in (1, 4):
        workdir = tmp_path / str(every)
        train(workdir, experiment._replace(log_every=every))
        norms[every] = [row["train/gradient_norm"] for row in rows(workdir)]
    means = np.reshape(norms[1], (-1, 4)).mean(axis=1)
    assert norms[4] == pytest.approx(means, rel=1e-4) and len(set(norms[1])) == 16


def test_the_norm_of_the_gradient_is_that_of_the_first_update():
    experiment = build(Config())._replace(
        model=models.create("mlp", hidden=(16,), num_classes=4),
        optimizer=optim.sgd(optim.constant(0.5)),
    )
    mesh = sharding.make_mesh(1)
    constants = sharding.place_resident(mesh, Constants.of(experiment))
    init = make_init(experiment, mesh, constants)
    step = make_train_step(experiment, mesh, init.shardings, log_every=1)
    items = sharding.stack([next(experiment.train.items())])
    before = sharding.to_host(init.make().params)
    state, report = step(init.make(), constants, sharding.place_items(mesh, items, 16))
    moved = jax.tree.map(np.subtract, sharding.to_host(state.params), before)
    squares = [np.sum(leaf.astype(np.float64) ** 2) for leaf in jax.tree.leaves(moved)]
    norm = float(report.sums.gradient_norm)
    assert norm == pytest.approx(sum(squares) ** 0.5 / 0.5, rel=1e-4)


def test_training_learns(quiet):
    history = rows(quiet[0])
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    assert history[-1]["train/loss"] < 0.85 * history[0]["train/loss"]


@pytest.mark.parametrize(
    "at", [1, 9, *(pytest.param(at, marks=pytest.mark.slow) for at in (3, 10, 15))]
)
def test_stop_and_resume_gives_the_same_bits(tmp_path, quiet, at):
    with pytest.raises(Interrupted, match="stopped and saved after step"):
        train(tmp_path, interrupting(build(Config()), at))
    resumed = train(tmp_path)
    assert "continuing after step" in (tmp_path / "console.txt").read_text()
    assert fingerprints(resumed) == fingerprints(quiet[1])
    assert rows(tmp_path) == rows(quiet[0])


def test_pictures_during_training_change_no_bit(tmp_path, quiet):
    moments = []
    fitted = train(
        tmp_path,
        maintenance=Maintenance(pictures_every=2),
        on_evaluation=moments.append,
    )
    assert fingerprints(fitted) == fingerprints(quiet[1])
    assert rows(tmp_path) == rows(quiet[0])
    drawn = {moment.step: moment.galleries is not None for moment in moments}
    assert drawn == {4: False, 8: True, 12: False, 16: True}
    worst = moments[-1].galleries.worst
    assert len(worst.indices) == 37 and worst.prediction["probabilities"].shape[1] == 4


def test_the_seed_decides_everything(tmp_path, quiet):
    same = train(tmp_path / "same")
    other = train(tmp_path / "other", build(Config(seed=1)))
    assert fingerprints(same) == fingerprints(quiet[1])
    assert fingerprints(other)[0] != fingerprints(quiet[1])[0]


def test_losses_agree_on_one_and_eight_devices(tmp_path, quiet):
    train(tmp_path, devices=8)
    for one, eight in zip(rows(quiet[0]), rows(tmp_path), strict=True):
        assert one.keys() == eight.keys()
        for name in ("train/loss", "validation/loss"):
            # The sums of gradients and batch statistics are taken in another order.
            assert one[name] == pytest.approx(eight[name], rel=1e-3), name


@pytest.mark.slow
def test_a_run_of_eight_devices_continues_on_one(tmp_path, quiet):
    with pytest.raises(Interrupted):
        train(tmp_path, interrupting(build(Config()), 7), devices=8)
    train(tmp_path, devices=1)
    last, expected = rows(tmp_path)[-1], rows(quiet[0])[-1]
    assert last["validation/loss"] == pytest.approx(
        expected["validation/loss"], rel=1e-3
    )


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    experiment = build(Config())._replace(
        model=models.create("mlp", hidden=(16,), num_classes=4),
        optimizer=optim.sgd(lambda step: jax.numpy.where(step < 5, 1e-3, 1e38)),
    )
    with pytest.raises(Diverged) as stopped:
        train(tmp_path, experiment)
    message = str(stopped.value)
    assert "loss of step 6" in message and "1e+38" in message
    assert "last good checkpoint is step 4" in message
    assert [row["step"] for row in rows(tmp_path)] == [4]


@pytest.mark.slow
def test_time_spent_waiting_for_data_is_logged_and_shown(tmp_path):
    experiment = interrupting(build(Config(epochs=1)), at=None, wait=0.2)
    train(tmp_path, experiment)
    row = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert 0.1 < row["data_wait"] <= 1
    assert "waiting for data" in (tmp_path / "console.txt").read_text()


def test_a_checkpoint_of_another_model_is_refused_and_kept(tmp_path):
    with pytest.raises(Interrupted):
        train(tmp_path, interrupting(build(Config()), 10))
    before = Checkpoints(tmp_path / "checkpoints", warn=print).steps()
    wider = models.create("resnet20", blocks=0, width=8, num_classes=4)
    with pytest.raises(UsageError) as refused:
        train(tmp_path, build(Config())._replace(model=wider))
    message = str(refused.value)
    assert "of another model or optimiser" in message
    assert "params/conv1/kernel was ('float32', (3, 3, 3, 4)), is" in message
    other = optim.adam(optim.constant(0.1))
    with pytest.raises(UsageError, match=r"nu/conv1/kernel is missing"):
        train(tmp_path, build(Config())._replace(optimizer=other))
    assert Checkpoints(tmp_path / "checkpoints", warn=print).steps() == before


def test_a_metric_that_does_not_exist_is_refused_at_once(tmp_path):
    with pytest.raises(UsageError, match="did you mean 'accuracy'"):
        train(tmp_path, build(Config())._replace(monitor="acuracy"))
    assert not (tmp_path / "checkpoints").exists()


def test_the_lowest_loss_can_be_the_best(tmp_path, quiet):
    experiment = build(Config())._replace(monitor="loss")
    fitted = train(tmp_path, experiment)
    lowest = min(rows(quiet[0]), key=lambda row: row["validation/loss"])
    assert int(fitted.best.step) == lowest["step"]


@pytest.mark.parametrize(
    "damage",
    [
        "flip",
        *(pytest.param(each, marks=pytest.mark.slow)
          for each in ("truncate", "remove", "swap")),
    ],
)  # fmt: skip
def test_a_damaged_checkpoint_is_passed_over(tmp_path, quiet, damage):
    with pytest.raises(Interrupted):
        train(tmp_path, interrupting(build(Config()), 10))
    *_, before, newest = sorted(
        (path for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit()),
        key=lambda path: int(path.name),
    )
    if damage == "swap":  # readable, and yet not what was saved
        shutil.rmtree(newest / "state")
        shutil.copytree(before / "state", newest / "state")
    victims = list(newest.rglob("*.npz"))
    assert victims
    for victim in victims if damage != "swap" else ():
        content = bytearray(victim.read_bytes())
        if damage == "flip":
            content[len(content) // 2] ^= 0x10
            victim.write_bytes(content)
        elif damage == "truncate":
            victim.write_bytes(content[: len(content) // 2])
        else:
            victim.unlink()
    resumed = train(tmp_path)
    said = (tmp_path / "console.txt").read_text()
    assert f"checkpoint {newest.name} is damaged" in said
    assert (newest.parent / f"damaged-{newest.name}").exists()
    assert fingerprints(resumed) == fingerprints(quiet[1])
    assert rows(tmp_path) == rows(quiet[0])


def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path, quiet, monkeypatch):
    import orbax.checkpoint as ocp

    save, calls = ocp.CheckpointManager.save, []

    def full(self, step, **arguments):
        calls.append(step)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return save(self, step, **arguments)

    monkeypatch.setattr(ocp.CheckpointManager, "save", full)
    with pytest.raises(CheckpointError, match=r"No space left.*last good one is step"):
        train(tmp_path)
    monkeypatch.undo()
    resumed = train(tmp_path)
    assert fingerprints(resumed) == fingerprints(quiet[1])


def test_checkpoints_keep_the_newest_and_the_best(tmp_path, quiet):
    state = quiet[1].last
    checkpoints = Checkpoints(tmp_path / "checkpoints", warn=print)
    for step, score in enumerate([0.1, 0.9, 0.3, 0.2, 0.4]):
        state = state._replace(step=jax.numpy.int32(step))
        checkpoints.save(state, {}, score=score)
    checkpoints.wait()
    assert checkpoints.steps() == [1, 3, 4]
    assert checkpoints.restore_best(state).step == 1
    assert checkpoints.restore_latest(state).step == 4
    checkpoints.close()


def test_every_leaf_of_the_state_survives_a_checkpoint(tmp_path, quiet):
    state = quiet[1].last
    checkpoints = Checkpoints(tmp_path / "checkpoints", warn=print)
    checkpoints.save(state, {"data": {"epoch": 3}}, score=None)
    checkpoints.wait()
    restored = checkpoints.restore_latest(state)
    checkpoints.close()
    assert restored.extra == {"data": {"epoch": 3}, "score": None}
    assert jax.tree.structure(restored.state) == jax.tree.structure(state)
    for one, other in zip(
        jax.tree.leaves(state), jax.tree.leaves(restored.state), strict=True
    ):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_a_run_begins_with_the_weights_it_is_given(tmp_path, quiet):
    trained = load_variables(quiet[0])
    experiment = build(Config(learning_rate=1e-9, epochs=1))._replace(
        initial=lambda: {"params": trained["params"]}
    )
    fitted = train(tmp_path / "all", experiment)
    for one, other in zip(
        jax.tree.leaves(fitted.last.params),
        jax.tree.leaves(trained["params"]),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, atol=1e-6)

    stem = {"params": {"conv1": trained["params"]["conv1"]}}
    fitted = train(tmp_path / "part", experiment._replace(initial=lambda: stem))
    kernel = trained["params"]["conv1"]["kernel"]
    np.testing.assert_allclose(fitted.last.params["conv1"]["kernel"], kernel, atol=1e-6)
    drawn = train(tmp_path / "none", experiment._replace(initial=None))
    assert not np.allclose(drawn.last.params["conv1"]["kernel"], kernel, atol=1e-3)
    np.testing.assert_allclose(
        fitted.last.params["linear"]["kernel"], drawn.last.params["linear"]["kernel"]
    )


def test_initial_weights_that_do_not_fit_are_named_together(tmp_path):
    def wrong():
        return {"params": {"conv1": {"kernel": np.zeros((1, 2))}, "head": np.zeros(3)}}

    with pytest.raises(UsageError) as refused:
        train(tmp_path, build(Config())._replace(initial=wrong))
    assert "have params/head, and the model has no such array" in str(refused.value)
    assert "params/conv1/kernel is (1, 2), and the model's is (3, 3, 3, 4)" in str(
        refused.value
    )


def test_initial_weights_are_asked_for_at_the_beginning_only(tmp_path):
    with pytest.raises(Interrupted):
        train(tmp_path, interrupting(build(Config()), 10))

    def never():
        raise AssertionError("the run has a checkpoint")

    train(tmp_path, build(Config())._replace(initial=never))


def test_further_evaluations_are_logged_in_training_if_they_ask(tmp_path, quiet):
    validation = build(Config()).validation
    experiment = build(Config())._replace(
        evaluations={
            "again": Evaluation(validation, in_training=True),
            "later": Evaluation(validation),
        }
    )
    train(tmp_path, experiment)
    for row, before in zip(rows(tmp_path), rows(quiet[0]), strict=True):
        assert row["again/loss"] == row["validation/loss"] == before["validation/loss"]
        assert not any(name.startswith("later/") for name in row)


def test_whoever_wants_to_know_is_called_after_each_validation(tmp_path):
    seen = []
    workdir = tmp_path / "run"
    workdir.mkdir()
    fit(
        build(Config()),
        workdir,
        mesh=sharding.make_mesh(1),
        console=Console(quiet=True),
        on_evaluation=seen.append,
    )
    assert [moment.step for moment in seen] == [4, 8, 12, 16]
    found = [row["validation/loss"] for row in rows(workdir)]
    assert [moment.metrics["loss"] for moment in seen] == found
    assert seen[0].average is None and "params" in seen[0].variables


def test_a_checkpoint_of_another_format_is_refused_and_kept(tmp_path, monkeypatch):
    with pytest.raises(Interrupted):
        train(tmp_path, interrupting(build(Config()), 10))
    before = Checkpoints(tmp_path / "checkpoints", warn=print).steps()
    monkeypatch.setattr(snapshot, "FORMAT", 4)
    with pytest.raises(UsageError, match=r"has format 3, and this version .* format 4"):
        train(tmp_path)
    assert Checkpoints(tmp_path / "checkpoints", warn=print).steps() == before


def test_what_does_not_fit_together_is_refused_before_any_work():
    experiment = build(Config())
    experiment.check()
    twice = {"test": Evaluation(experiment.validation)}
    with pytest.raises(UsageError, match="is called 'test': its name begins"):
        experiment._replace(evaluations=twice).check()
    with pytest.raises(UsageError, match="unknown metric to monitor 'average/loss'"):
        experiment._replace(monitor="average/loss").check()
    averaged = experiment._replace(monitor="average/loss", average=optim.ema(0.9))
    assert averaged.monitored().better == "lower"
    plain = tuple(m._replace(better=None) for m in experiment.task.measures)
    task = experiment.task._replace(measures=plain)
    with pytest.raises(UsageError, match="neither more nor less of accuracy"):
        experiment._replace(task=task).check()
    model = experiment.model._replace(no_weight_decay=("pos_embedding",))
    with pytest.raises(UsageError, match="pos_embedding are not for weight decay"):
        experiment._replace(model=model).check()
    decayed = optim.sgd(
        optim.constant(0.1), weight_decay=0.1, no_weight_decay=model.no_weight_decay
    )
    for optimizer in (decayed, optim.sgd(optim.constant(0.1))):
        experiment._replace(model=model, optimizer=optimizer).check()


def test_data_without_what_the_task_reads_are_refused_before_any_work():
    scenes = data.load("scenes:24x24x3:16:8").train
    experiment = build(Config())
    refused = "the task reads label, and the examples of scenes.* have boxes, classes"

    def trained_on_scenes(transform):
        return experiment._replace(
            train=data.train(scenes, 16, transform=transform, seed=0)
        )

    with pytest.raises(UsageError, match=refused):
        trained_on_scenes(lambda key, batch: batch).check()
    with pytest.raises(UsageError, match=refused):
        trained_on_scenes(lambda key, batch: batch | {"x": batch["label"]}).check()
    # A transform may make what the set has not.
    trained_on_scenes(lambda key, batch: batch | {"label": batch["classes"]}).check()
    further = {
        "scenes": Evaluation(
            data.evaluation(scenes, 16, transform=lambda key, batch: batch)
        )
    }
    with pytest.raises(UsageError, match=refused):
        experiment._replace(evaluations=further).check()
    task = tasks.segmentation(11)
    further = {"scenes": further["scenes"]._replace(task=task)}
    experiment._replace(evaluations=further).check()


def scripted(experiment, accuracies):
    """The experiment, whose validations find these accuracies."""
    values, found = iter(accuracies), experiment.task.compute

    def compute(sums, rows):
        metrics = found(sums, rows)
        if "calibration_error" in metrics:  # an evaluation: these need more than a loss
            metrics["accuracy"] = next(values)
        return metrics

    return experiment._replace(task=experiment.task._replace(compute=compute))


@pytest.mark.parametrize(
    "accuracies", [(0.9, math.nan, 0.2, 0.3), (0.9, 0.2, 0.3, -math.inf)]
)
def test_a_validation_that_is_not_finite_ranks_last(tmp_path, accuracies):
    fitted = train(tmp_path, scripted(build(Config()), accuracies))
    assert int(fitted.best.step) == 4
    said = (tmp_path / "console.txt").read_text()
    assert "the validation's accuracy after step" in said and "not finite" in said
    assert [row["validation/accuracy"] for row in rows(tmp_path)] == [
        value if math.isfinite(value) else None for value in accuracies
    ]


def test_metrics_may_come_from_any_array_library(tmp_path):
    accuracies = (jnp.float32(0.25), np.float32(0.5), jnp.bfloat16(0.75), True)
    fitted = train(tmp_path, scripted(build(Config()), accuracies))
    found = [row["validation/accuracy"] for row in rows(tmp_path)]
    assert found == [0.25, 0.5, 0.75, 1.0]
    assert int(fitted.best.step) == 16
    with pytest.raises(UsageError, match="task's metric 'accuracy' must be a number"):
        train(tmp_path / "none", scripted(build(Config()), ["high"]))


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "latin-1"])
def test_a_damaged_log_is_written_anew_from_the_checkpoint(tmp_path, quiet, damage):
    with pytest.raises(Interrupted):
        train(tmp_path, interrupting(build(Config()), 10))
    file = tmp_path / "metrics.jsonl"
    content = bytearray(file.read_bytes())
    if damage == "remove":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    else:
        content[20] = 0xFF if damage == "latin-1" else content[20] ^ 1
        file.write_bytes(content)
    train(tmp_path)
    assert "it is written anew from the checkpoint" in said(tmp_path)
    assert rows(tmp_path) == rows(quiet[0])


def said(workdir):
    return (workdir / "console.txt").read_text()
