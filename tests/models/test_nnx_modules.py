"""NNX modules as models: the same numbers, collections, modes and random streams."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxvision import models
from jaxvision.errors import UsageError


class Net(nnx.Module):
    no_weight_decay = ("scale_of_all",)

    def __init__(self, classes, *, rngs):
        self.conv = nnx.Conv(3, 4, (3, 3), strides=2, rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        layers = [nnx.Linear(4, 4, rngs=rngs), nnx.Linear(4, classes, rngs=rngs)]
        self.layers = nnx.List(layers)

    def __call__(self, images):
        return self.judge(self.drop(nnx.relu(self.norm(self.conv(images)))))

    def judge(self, features):
        features = features.mean((1, 2))
        for layer in self.layers:
            features = layer(features)
        return features


@pytest.fixture(autouse=True)
def promotion_of_flax():
    """NNX promotes ranks and types."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def made():
    model = models.from_nnx(lambda rngs: Net(3, rngs=rngs))
    images = jax.random.normal(jax.random.key(0), (2, 9, 9, 3))
    return model, jax.jit(model.init)(jax.random.key(1), images), images


def test_it_computes_as_the_module_with_our_convolution(made):
    model, variables, images = made
    assert set(variables) == {"params", "batch_stats"}
    assert set(variables["params"]["layers"]) == {"0", "1"}
    assert model.no_weight_decay == ("scale_of_all",)
    module = Net(3, rngs=nnx.Rngs(jax.random.key(1)))
    module.eval()
    outputs, state = model.apply(variables, images)
    wanted = module(images)
    np.testing.assert_allclose(outputs["logits"], wanted, rtol=1e-4, atol=1e-6)
    assert state == {"batch_stats": variables["batch_stats"]}
    assert "custom_vjp" in str(jax.make_jaxpr(model.apply)(variables, images))
    judged, _ = model.apply(variables, jnp.ones((2, 1, 1, 4)), entry="judge")
    assert judged.shape == (2, 3)


def test_training_draws_from_the_key_and_moves_the_statistics(made):
    model, variables, images = made
    apply = jax.jit(lambda key: model.apply(variables, images, train=True, key=key))
    (one, state), (two, _), (again, _) = (
        apply(jax.random.key(seed)) for seed in (1, 2, 1)
    )
    assert not np.allclose(one["logits"], two["logits"])
    np.testing.assert_array_equal(one["logits"], again["logits"])
    assert jax.tree.structure(state["batch_stats"]) == jax.tree.structure(
        variables["batch_stats"]
    )
    before = variables["batch_stats"]["norm"]["mean"]
    assert not np.allclose(state["batch_stats"]["norm"]["mean"], before)


def test_a_function_that_makes_no_module_is_told_so():
    with pytest.raises(
        UsageError, match=r"lambda rngs: Net\(rngs=rngs\).*returned str"
    ):
        models.from_nnx(lambda rngs: "net")
