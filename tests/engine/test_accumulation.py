"""Parts of a batch add up to the batch, also where what counts differs between them."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import data, models, optim, tasks
from jaxvision.engine import sharding
from jaxvision.engine.step import Constants, make_init, make_train_step, quotient
from jaxvision.ops.augment import normalise
from jaxvision.types import UNKNOWN, Experiment

BATCH = 8


class Pixels(nn.Module):
    @nn.compact
    def __call__(self, images, *, train):
        hidden = nn.relu(nn.Conv(8, (3, 3))(images))
        return {"logits": nn.Conv(11, (1, 1))(hidden)}


def build(accumulate, task=None):
    """Without batch normalisation, whose statistics are those of the parts."""
    splits = data.load("scenes:24x24x3:32:8")
    train_data = data.train(
        splits.train, BATCH, transform=half_unknown(normalise(0.5, 0.25)), seed=0
    )
    evaluation = data.evaluation(splits.test, 8, transform=normalise(0.5, 0.25))
    return Experiment(
        model=models.from_linen(Pixels()),
        task=task or tasks.segmentation(len(splits.train.class_names)),
        optimizer=optim.sgd(optim.constant(0.1)),
        train=train_data,
        validation=evaluation,
        test=evaluation,
        steps=4,
        accumulate=accumulate,
    )


def half_unknown(transform):
    """Row i of a batch keeps i/8 of its pixels: parts have very different weights."""

    def change(key, batch):
        batch = transform(key, batch)
        rows = jnp.arange(24)[None, :, None] * BATCH // 24
        unknown = rows >= jnp.arange(BATCH)[:, None, None]
        labels = jnp.where(unknown, jnp.uint8(UNKNOWN), batch["segmentation"])
        return {"image": batch["image"], "segmentation": labels}

    return change


def step_of(experiment, devices=1):
    mesh = sharding.make_mesh(devices)
    constants = sharding.place_resident(mesh, Constants.of(experiment))
    init = make_init(experiment, mesh, constants)
    step = make_train_step(experiment, mesh, init.shardings, log_every=1)
    items = sharding.stack([next(experiment.train.items())])
    return step, (init.make(), constants, sharding.place_items(mesh, items, BATCH))


def trained(experiment, devices=1):
    step, arguments = step_of(experiment, devices)
    state, report = step(*arguments)
    sums = jax.tree.map(np.asarray, report.sums)
    return state.params, {**sums.task, "gradient_norm": sums.gradient_norm}


@pytest.fixture(scope="module")
def whole():
    return trained(build(1))


@pytest.mark.parametrize(("parts", "devices"), [(2, 1), (4, 1), (8, 1), (2, 4)])
def test_the_parts_make_the_same_update(whole, parts, devices):
    params, sums = trained(build(parts), devices)
    for name, value in sums.items():
        np.testing.assert_allclose(value, whole[1][name], rtol=1e-5)
    for one, other in zip(*map(jax.tree.leaves, (params, whole[0])), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_several_means_add_up_too(whole):
    """A mean over pixels and one over images, with weights that parts do not share."""

    def both(task):
        def loss(forward, batch, *, key):
            (total, pixels), (state, sums) = task.loss(forward, batch, key=key)
            marked = (batch["segmentation"] != UNKNOWN).any(axis=(1, 2))
            outputs, _ = forward(batch["image"])
            energy = jnp.sum(outputs["logits"] ** 2, axis=(1, 2, 3))
            totals = {
                "pixels": total,
                "images": jnp.sum(jnp.where(marked, energy, 0)) / 1e3,
            }
            weights = {"pixels": pixels, "images": jnp.sum(marked, dtype=jnp.int32)}
            return (totals, weights), (state, sums)

        return task._replace(loss=loss)

    task = both(build(1).task)
    one, parts = trained(build(1, task))[0], trained(build(4, task))[0]
    for a, b, plain in zip(*map(jax.tree.leaves, (one, parts, whole[0])), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
        assert not np.allclose(a, plain, rtol=1e-4)


def test_the_pass_for_the_weights_leaves_the_network_out():
    def convolutions(parts):
        step, arguments = step_of(build(parts))
        return step.lower(*arguments).as_text().count("stablehlo.convolution")

    assert 0 < convolutions(2) == convolutions(1)


def test_nothing_that_counts_is_a_loss_of_zero():
    zero = jnp.float32(0)
    loss, slope = jax.value_and_grad(lambda total: quotient(total, zero))(zero)
    assert loss == 0 and slope == 0
    assert quotient({"a": jnp.float32(3), "b": zero}, {"a": 2, "b": 0}) == 1.5
