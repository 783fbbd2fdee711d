"""What is frozen keeps its bits, batch normalisation included."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxvision import models
from jaxvision.errors import UsageError
from jaxvision.layers.norm import BatchNorm
from jaxvision.paths import named_leaves as paths

IMAGES = jax.random.normal(jax.random.key(0), (4, 8, 8, 3))
AVERAGES = "/(mean|var)$"


class Block(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.Conv(4, (3, 3), name="conv")(x)
        return BatchNorm(use_running_average=not train, name="bn")(x)


class Net(nn.Module):
    """Normalisation of Flax, then ours in two blocks, and a linear layer."""

    block: type[nn.Module] = Block

    @nn.compact
    def __call__(self, x, *, train: bool):
        x = nn.Conv(4, (3, 3), name="stem")(x)
        x = nn.BatchNorm(use_running_average=not train, name="stem_bn")(x)
        for i in range(2):
            x = self.block(name=f"block{i}")(nn.relu(x), train)
        return {"logits": nn.Dense(3, name="head")(x.mean((1, 2)))}


REMAT = nn.remat(Block, static_argnums=(2,))


def network(block=Block):
    model = models.from_linen(Net(block))
    variables = jax.jit(model.init)(jax.random.key(1), IMAGES)
    # Averages that no batch has.
    rest = jax.tree.map(lambda leaf: leaf + 0.3, variables["batch_stats"])
    return model, {"params": variables["params"], "batch_stats": rest}


def trained(model, variables):
    """The gradient, the state after a pass in training, and its class scores."""

    @jax.jit
    def step(variables):
        def loss(params):
            outputs, state = model.apply(
                {**variables, "params": params},
                IMAGES,
                train=True,
                key=jax.random.key(2),
            )
            return jnp.sum(outputs["logits"] ** 2), (state, outputs["logits"])

        gradient, (state, logits) = jax.grad(loss, has_aux=True)(variables["params"])
        return paths(gradient), paths(state), logits

    return step(variables)


@pytest.mark.parametrize("block", [Block, REMAT], ids=["kept", "recomputed"])
def test_a_frozen_backbone_is_that_of_an_evaluation(block):
    model, variables = network(block)
    gradient, state, logits = trained(models.frozen(model, "^(?!head/)"), variables)
    for path, leaf in gradient.items():
        assert bool((leaf != 0).any()) == path.startswith("head/"), path
    for path, leaf in paths({"batch_stats": variables["batch_stats"]}).items():
        np.testing.assert_array_equal(state[path], leaf)
    evaluated, _ = jax.jit(model.apply)(variables, IMAGES)
    np.testing.assert_allclose(logits, evaluated["logits"], rtol=1e-5, atol=1e-5)
    _, moved, other = trained(model, variables)
    assert not np.allclose(other, logits, rtol=1e-2)  # or nothing would be shown here
    assert not any((moved[path] == state[path]).all() for path in state)


def test_a_part_can_be_frozen_and_averages_alone():
    model, variables = network()
    before = paths({"batch_stats": variables["batch_stats"]})
    for pattern in ("^stem", "^block1", AVERAGES):
        gradient, state, _ = trained(models.frozen(model, pattern), variables)
        for path, leaf in state.items():
            same = bool((leaf == before[path]).all())
            local = path.removeprefix("batch_stats/")
            assert same == bool(re.search(pattern, local)), path
        for path, leaf in gradient.items():
            assert bool((leaf == 0).all()) == bool(re.search(pattern, path))


def test_dropout_goes_on():
    model = models.create("convnet", num_classes=3, dropout=0.5)
    images = jnp.ones((2, 28, 28, 1))
    variables = jax.jit(model.init)(jax.random.key(0), images)
    model = models.frozen(model, "")
    assert model.rebuild(dtype=jnp.bfloat16).no_weight_decay == ()

    def scores(key):
        return model.apply(variables, images, train=True, key=key)[0]["logits"]

    one, two = (jax.jit(scores)(jax.random.key(i)) for i in (0, 1))
    assert not np.allclose(one, two)


class Normalised(nnx.Module):
    def __init__(self, rngs):
        self.norm = nnx.BatchNorm(3, rngs=rngs)
        self.head = nnx.Linear(3, 2, rngs=rngs)

    def __call__(self, x):
        return self.head(self.norm(x))


def test_normalisation_that_cannot_be_frozen_is_refused():
    model = models.frozen(models.from_nnx(lambda rngs: Normalised(rngs)), "^norm")
    variables = model.init(jax.random.key(0), IMAGES)
    model.apply(variables, IMAGES)  # an evaluation changes nothing
    with pytest.raises(
        UsageError, match="norm/mean is frozen, and its module computes"
    ):
        model.apply(variables, IMAGES, train=True, key=jax.random.key(0))
