"""Layers that models share, against their definitions."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import models
from jaxvision.layers import windows
from jaxvision.layers.attention import attend, split_heads
from jaxvision.layers.channels import round_channels
from jaxvision.layers.conv_norm import conv_norm
from jaxvision.layers.inverted_residual import InvertedResidual
from jaxvision.layers.local_response import local_response_norm
from jaxvision.layers.norm import batch_norm
from jaxvision.layers.squeeze_excite import SqueezeExcite
from jaxvision.layers.stochastic_depth import StochasticDepth
from jaxvision.paths import named_leaves


def normal(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    # Of MobileNets with other widths: never below 90 %.
    "channels, rounded",
    [(32 * 0.35, 16), (83, 80), (84, 88), (3, 8), (24, 24), (24 * 1.1, 24)],
)
def test_channels_are_rounded(channels, rounded):
    assert round_channels(channels) == rounded


def test_local_response_norm_sums_over_five_channels():
    x = normal(2, 3, 3, 7)
    y = local_response_norm(x)
    for c in range(7):
        around = x[..., max(0, c - 2) : c + 3]
        expected = x[..., c] / (2 + 1e-4 * (around**2).sum(-1)) ** 0.75
        np.testing.assert_allclose(y[..., c], expected, rtol=1e-6)


def test_stochastic_depth_drops_whole_examples_and_keeps_the_mean():
    branch = jnp.ones((4000, 2, 2, 1))
    layer = StochasticDepth(0.25, deterministic=False)
    y = layer.apply({}, branch, rngs={"dropout": jax.random.key(0)})
    per_example = np.asarray(y).reshape(4000, -1)
    assert (per_example == per_example[:, :1]).all()
    np.testing.assert_allclose(np.unique(per_example), [0, 4 / 3], rtol=1e-6)
    assert abs(per_example.mean() - 1) < 0.05
    assert StochasticDepth(0.25, deterministic=True).apply({}, branch) is branch


def test_windows_are_cut_and_merged_again():
    x = jnp.arange(2 * 6 * 4 * 3).reshape(2, 6, 4, 3)
    cut = windows.partition(x, 3, 2)
    assert cut.shape == (2, 4, 6, 3)
    np.testing.assert_array_equal(cut[1, 3], x[1, 3:, 2:].reshape(6, 3))
    np.testing.assert_array_equal(windows.merge(cut, 3, 2, (6, 4)), x)


def test_relative_positions_are_numbered_by_their_offset():
    index = windows.relative_position_index(3)
    # From the first pixel to itself, to the last, and back.
    assert index[0, 0] == index[4, 4] == 2 * 5 + 2
    assert index[0, 8] == 0
    assert index[8, 0] == 24
    assert index[1, 0] == 2 * 5 + 3


def test_attention_is_the_formula():
    qkv = normal(2, 5, 24)
    bias = normal(1, 2, 5, 5)
    y = attend(*split_heads(qkv, 2), bias=jnp.asarray(bias))
    for head in range(2):
        q, k, v = (qkv[..., i * 8 + head * 4 : i * 8 + head * 4 + 4] for i in range(3))
        weights = nn.softmax(q @ k.swapaxes(1, 2) / 2 + bias[:, head])
        np.testing.assert_allclose(
            y[..., head * 4 : head * 4 + 4], weights @ v, rtol=1e-5, atol=1e-5
        )


def inverted_residual(expanded_channels, features=4, **options):
    layer = partial(conv_norm, norm=batch_norm(train=False))
    return InvertedResidual(features, expanded_channels, layer, **options)


@pytest.mark.slow
def test_inverted_residuals_have_the_layers_of_the_paper():
    x = jnp.asarray(normal(2, 6, 6, 4))
    squeeze_excite = partial(SqueezeExcite, 2)
    block = inverted_residual(8, squeeze_excite=squeeze_excite, kernel_size=5)
    params = block.init(jax.random.key(0), x)["params"]
    shapes = {name: params[name]["kernel"].shape for name in params if name[-1] == "0"}
    assert shapes == {
        "block.0.0": (1, 1, 4, 8),
        "block.1.0": (5, 5, 1, 8),
        "block.3.0": (1, 1, 8, 4),
    }
    assert set(params["block.2"]) == {"fc1", "fc2"}
    two = inverted_residual(4, features=6, strides=2)
    y, variables = two.init_with_output(jax.random.key(0), x)
    assert y.shape == (2, 3, 3, 6)
    names = {"block.0.0", "block.0.1", "block.1.0", "block.1.1"}
    assert set(variables["params"]) == names


def test_inverted_residuals_have_a_shortcut_where_the_shape_stays():
    x = jnp.asarray(normal(2, 6, 6, 4))
    variables = inverted_residual(8).init(jax.random.key(0), x)
    beside = inverted_residual(8).apply(variables, x)
    branch = inverted_residual(8, drop_path=lambda y: 2 * y).apply(variables, x)
    np.testing.assert_allclose(branch - x, 2 * (beside - x), rtol=1e-4, atol=1e-5)
    assert jnp.abs(beside - x).max() > 0.1


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("tf_efficientnet_lite0", marks=pytest.mark.slow),
        "mobilenetv1_100",
    ],
)
def test_depthwise_kernels_are_drawn_for_one_channel_as_in_timm(name):
    """PyTorch's rule counts those of all channels, and gives maps of no variance."""
    model = models.create(name, num_classes=2)
    variables = model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    kernels = [
        kernel
        for path, kernel in named_leaves(variables["params"]).items()
        if path.endswith("conv_dw/kernel")
    ]
    assert len(kernels) >= 13
    for kernel in kernels:
        expected = np.sqrt(2 / (kernel.shape[0] * kernel.shape[1]))
        assert np.std(kernel) == pytest.approx(expected, rel=0.15)
