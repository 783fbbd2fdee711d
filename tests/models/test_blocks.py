"""Blocks by depth, found in the program of a model; `test_every_model` sweeps these."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from jaxvision import models, optim
from jaxvision.models import shapes
from jaxvision.paths import named_leaves


def paths_of(name):
    return list(named_leaves(shapes.variables(name)["params"]))


def check_that_blocks_rise_from_the_stem_to_the_head(name):
    blocks = models.blocks(name)
    names = [part for block in blocks for part in block]
    starts = [re.compile(rf"{re.escape(part)}(/|$)") for part in names]
    for path in paths_of(name):
        assert sum(bool(start.match(path)) for start in starts) == 1, path
    head = {path.split("/")[0] for path in models.head(name)}
    assert set(blocks[-1]) <= head | {"keypoint_head"}  # which knows of no classes
    # Names with numbers, such as layer1.0 and layer2.1, were given by depth.
    for prefix in ("layer", "stage", "blocks.", "encoder.layers."):
        numbered = [part for part in names if part.startswith(prefix)]
        natural = sorted(
            numbered, key=lambda part: [int(n) for n in re.findall(r"\d+", part)]
        )
        assert numbered == natural


@pytest.mark.slow
def test_blocks_of_known_models():
    assert models.blocks("resnet18") == (
        ("conv1", "bn1"),
        *((f"layer{stage}.{block}",) for stage in (1, 2, 3, 4) for block in (0, 1)),
        ("fc",),
    )
    blocks = models.blocks("vit_tiny_patch16_224")
    assert blocks[0] == ("conv_proj", "class_token", "encoder.pos_embedding")
    assert blocks[-2:] == (
        ("encoder.layers.encoder_layer_11", "encoder.ln"),
        ("heads.head",),
    )
    assert len(blocks) == 14
    assert ("aux1",) in models.blocks("googlenet")  # is used in training only


class Backwards(nn.Module):
    """Its names are not in the order of its layers, and one norm comes before any."""

    @nn.compact
    def __call__(self, x):
        x = nn.LayerNorm(name="z")(x)
        x = nn.Dense(4, name="y")(x)
        x = nn.LayerNorm(name="b")(x)
        return nn.Dense(3, name="a")(x)


class Mixed(nn.Module):
    """A head whose layers have numbers, and one of them a name."""

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(4, name="0")(x)
        return nn.Dense(3, name="last")(x)


class WithHead(nn.Module):
    @nn.compact
    def __call__(self, x):
        return Mixed(name="head")(nn.Dense(5, name="stem")(x))


def test_a_list_beside_other_names_is_one_block_with_them():
    model = models.from_linen(WithHead())
    assert models.blocks(model, (8, 8, 3)) == (("stem",), ("head",))


class List(nnx.Module):
    def __init__(self, rngs):
        self.layers = nnx.List([nnx.Linear(5, 5, rngs=rngs) for _ in range(11)])
        self.first = nnx.Linear(3, 5, rngs=rngs)

    def __call__(self, x):
        x = self.first(x)
        for layer in self.layers:
            x = layer(x)
        return x


def test_models_of_ones_own_have_blocks():
    model = models.from_linen(Backwards())
    assert models.blocks(model, (8, 8, 3)) == (("z",), ("y", "b"), ("a",))
    model = models.from_nnx(lambda rngs: List(rngs))
    layers = tuple((f"layers/{i}",) for i in range(11))
    assert models.blocks(model, (8, 8, 3)) == (("first",), *layers)


def check_that_layer_decay_has_one_rate_for_each_parameter(name):
    blocks = models.blocks(name)
    params = {path: jnp.ones(()) for path in paths_of(name)}
    optimizer = optim.layer_decay(optim.sgd(optim.constant(1.0)), blocks, 0.5)
    with jax.numpy_dtype_promotion("standard"):
        state = optimizer.transform.init(params)
        rates, _ = optimizer.transform.update(params, state, params)
    for path, rate in rates.items():
        (depth,) = (
            i
            for i, block in enumerate(blocks)
            if any(path == part or path.startswith(f"{part}/") for part in block)
        )
        assert float(-rate) == 0.5 ** (len(blocks) - 1 - depth), path
