"""Both sides of `benchmarks.speed` train the same networks.

What PyTorch's make of given weights was written by tools/make_peer_references.py.
"""

import json
from functools import partial
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.networks import NETWORKS, registry
from benchmarks.speed import EVALUATIONS, ROWS
from jaxvision import models, pretrained
from jaxvision.pretrained import keys
from tools import parity_inputs as inputs

PEERS = json.loads(Path(__file__).with_name("networks.json").read_text())
FAST = ("lenet5", "resnet20", "unet", "unet_small")
GAIN = 2.0


def test_every_row_is_compared():
    evaluated = {row.removesuffix("_evaluation") for row in EVALUATIONS}
    assert PEERS.keys() == ROWS.keys() | evaluated


@pytest.mark.parametrize(
    "row",
    [pytest.param(r, marks=[] if r in FAST else [pytest.mark.slow]) for r in PEERS],
)
def test_the_peer_is_the_same_network(row, monkeypatch):
    monkeypatch.setattr(nn.Dropout, "__call__", lambda self, x: x)
    names, side, wanted = (PEERS[row][key] for key in ("names", "side", "logits"))
    channels = 1 if row == "lenet5" else 3
    images = inputs.images(side, side, channels=channels, count=4)
    network = functional if row in NETWORKS else registered
    logits = jax.jit(partial(network, row, names))(images)
    values = np.asarray(logits).reshape(-1)[inputs.probe(logits.shape)]
    assert list(logits.shape) == wanted["shape"]
    np.testing.assert_allclose(values, wanted["values"], atol=1e-4 * wanted["scale"])


def registered(row, names, images):
    """Logits of a training pass of a model of the registry."""
    options = {"num_classes": 10, **registry(row)}
    model = models.create(**options)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    rules = next(iter(models.sources(**registry(row)).values()))
    state = {
        key: np.zeros(shape, np.float32)
        for key, shape in keys.published_shapes(variables, rules).items()
    }
    assert set(names) <= state.keys()
    state |= {name: inputs.weight(name, state[name].shape, GAIN) for name in names}
    variables = pretrained.load(
        options.pop("name"), state, input_shape=images.shape[1:], **options
    )
    return model.apply(variables, images, train=True)[0]["logits"]


def functional(row, names, images):
    """The same of a network of `benchmarks`, by the order of its parameters."""
    rest = iter(names)

    def param(*shape):
        name = next(rest)
        path = ("params", "kernel" if len(shape) > 1 else "bias")
        array = inputs.weight(name, keys.published_shape(path, shape), GAIN)
        if len(shape) == 1 and name.endswith("weight"):
            array = array - 1  # `networks` adds the 1 of a scale
        return jnp.asarray(keys.from_published(path, array))

    logits = NETWORKS[row](param, images, 10)
    assert next(rest, None) is None
    return logits
