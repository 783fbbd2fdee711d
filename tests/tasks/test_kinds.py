"""Tasks of six further kinds share the loop, resumption and evaluation unchanged."""

import inspect
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from jaxvision.engine import sharding
from jaxvision.engine.loop import fit
from jaxvision.engine.state import digest
from jaxvision.errors import UsageError
from tests.tasks.kinds import (
    adversaries,
    contrast,
    mean_teacher,
    noise,
    regions,
    teacher,
)

KINDS = (teacher, contrast, mean_teacher, noise, regions, adversaries)


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("teacher")
    train(workdir, teacher.teacher())
    return workdir


@pytest.fixture
def build(taught):
    return lambda kind: kind.build(taught) if kind is teacher else kind.build()


def train(workdir, experiment, devices=1):
    workdir.mkdir(exist_ok=True)
    mesh, console = sharding.make_mesh(devices), Console(quiet=True)
    return fit(experiment, workdir, mesh=mesh, console=console)


def rows(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__[18:])
def test_a_kind_is_short_learns_and_resumes(kind, build, tmp_path):
    assert len(inspect.getsource(kind).splitlines()) < 60
    whole = train(tmp_path / "whole", build(kind))
    first, *_, last = rows(tmp_path / "whole")
    headline = build(kind).task.measures[0]
    sign = 1 if headline.better == "higher" else -1
    before, after = (row.get(f"validation/{headline.name}") for row in (first, last))
    train_name = next(name for name in first if name.startswith("train/"))
    assert last[train_name] != first[train_name]
    if before is not None:
        assert sign * (after - before) >= 0

    part = build(kind)._replace(steps=8)
    train(tmp_path / "parts", part)
    continued = train(tmp_path / "parts", build(kind))
    assert digest(continued.last) == digest(whole.last)


def test_a_teacher_is_an_argument_of_the_program_and_stays_the_same(taught, tmp_path):
    experiment = teacher.build(taught)
    fitted = train(tmp_path / "run", experiment._replace(steps=8))
    assert digest(fitted.frozen) == digest(experiment.task.frozen())
    other = jax.tree.map(lambda x: x + 1, experiment.task.frozen())
    changed = experiment._replace(task=experiment.task._replace(frozen=lambda: other))
    with pytest.raises(UsageError, match="keeps frozen, such as a teacher, are not"):
        train(tmp_path / "run", changed)
    last = rows(tmp_path / "run")[-1]
    assert last["validation/agreement"] > 0.5


def test_a_mean_teacher_needs_an_average(tmp_path):
    experiment = mean_teacher.build()._replace(average=None)
    with pytest.raises(UsageError, match=r"set its `average`, such as optim.ema"):
        train(tmp_path / "run", experiment)


def test_the_mean_teacher_is_the_average_and_its_weight_rises(tmp_path):
    train(tmp_path / "run", mean_teacher.build())
    found = rows(tmp_path / "run")
    # At first teacher and student are the same but for the noise.
    assert found[0]["train/inconsistency"] < 0.05
    assert "validation/average/accuracy" in found[-1]
    stiff = mean_teacher.build()._replace(average=lambda step: jnp.float32(1))
    train(tmp_path / "stiff", stiff)
    inconsistency = [row["train/inconsistency"] for row in rows(tmp_path / "stiff")]
    assert inconsistency[-1] < found[-1]["train/inconsistency"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("devices", "batch_size"),
    [(8, 7), *(pytest.param(*c, marks=pytest.mark.slow) for c in ((1, 7), (8, 64)))],
)
def test_sampled_metrics_are_the_same_for_any_batch(batch_size, devices, tmp_path):
    experiment = noise.build()._replace(steps=8)
    train(tmp_path / "one", experiment)
    pipeline = experiment.validation
    other = experiment._replace(
        validation=noise.kinds.data.evaluation(
            _validation(), batch_size, transform=pipeline.transform
        )
    )
    train(tmp_path / "other", other, devices)
    one, two = (rows(tmp_path / name)[-1] for name in ("one", "other"))
    assert one["validation/loss"] == pytest.approx(two["validation/loss"], rel=1e-4)


def _validation():
    data = noise.kinds.data
    return data.carve(data.load("synthetic:8x8x1:4").train, 64)[1]


@pytest.mark.slow
def test_each_of_two_optimisers_moves_its_own_network(tmp_path):
    start = train(tmp_path / "still", adversaries.build(rates=(0.0, 0.0))).last.params
    for name, rates in (("generator", (0.0, 1e-2)), ("discriminator", (1e-2, 0.0))):
        params = train(tmp_path / name, adversaries.build(rates)).last.params
        moved = {
            part: not np.array_equal(one, other)
            for part in params
            for one, other in [
                (
                    np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree[part])])
                    for tree in (start, params)
                )
            ]
        }
        groups = {part.partition("_")[0] for part, did in moved.items() if did}
        assert groups == {name}
