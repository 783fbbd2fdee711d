import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import explain, models
from jaxvision.errors import UsageError
from tests import predictors
from tests.explain import planted


def test_the_weights_of_attention_are_found_in_a_program():
    keys = jax.random.split(jax.random.key(0), 3)
    q, k, v = (jax.random.normal(key, (2, 5, 4, 3)) for key in keys)

    def forward(scale):
        y = jax.nn.dot_product_attention(q * scale, k, v)
        return {"y": jnp.exp(y) / jnp.exp(y).sum()}  # a softmax that multiplies nothing

    (found,) = explain.attention_maps(forward, jnp.ones((1, 1, 1, 1)))
    products = np.einsum("bnhe,bmhe->bhnm", q, k) / np.sqrt(3)
    expected = np.exp(products) / np.exp(products).sum(-1, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_vision_transformer_has_them_in_each_block():
    made = predictors.make("vit", size=16)
    images = jax.random.normal(jax.random.key(0), (2, 16, 16, 3))

    def forward(images):
        return made.model.apply(made.variables, images)[0]

    layers = explain.attention_maps(forward, images)
    assert [layer.shape for layer in layers] == [(2, 4, 17, 17)] * 4
    for layer in layers:
        np.testing.assert_allclose(layer.sum(-1), np.ones((2, 4, 17)), rtol=1e-5)
    rollout = explain.attention_rollout(forward, images)
    assert rollout.shape == (2, 4, 4)
    flow = np.eye(17)[None]
    for layer in layers:
        flow = (np.asarray(layer).mean(1) / 2 + np.eye(17) / 2) @ flow
    np.testing.assert_allclose(
        rollout, flow[:, 0, 1:].reshape(2, 4, 4), rtol=1e-4, atol=1e-7
    )


def test_networks_without_such_attention_are_refused():
    with pytest.raises(UsageError, match="this network has no attention"):
        explain.attention_rollout(planted.forward, planted.image()[None])
    swin = models.create("swin_t", num_classes=3)
    images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    variables = jax.eval_shape(swin.init, jax.random.key(0), images)
    with pytest.raises(UsageError, match="look at windows"):
        jax.eval_shape(
            lambda v, x: explain.attention_rollout(lambda x: swin.apply(v, x)[0], x),
            variables,
            images,
        )
