"""Receptive fields in theory against a published table, and against gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from jaxvision.errors import UsageError
from jaxvision.models import measures
from jaxvision.ops.convolution import conv2d
from jaxvision.ops.pooling import avg_pool, global_avg_pool, max_pool
from jaxvision.ops.receptive_field import (
    effective_field,
    extent,
    receptive_fields,
)
from jaxvision.ops.upsample import conv_transpose, upsample

IMAGES = jax.ShapeDtypeStruct((1, 80, 96, 3), jnp.float32)


def chain(x, *layers):
    """Convolutions and pooling of (kind, window, strides, padding)."""
    for kind, window, strides, padding in layers:
        if kind == "conv":
            kernel = jnp.ones((window, window, x.shape[-1], 1), x.dtype)
            x = conv2d(x, kernel, strides=strides, padding=padding)
        else:
            x = max_pool(x, window, strides, padding)
    return x


def recursion(layers):
    """Size, stride and padding by the formulas of Araujo et al. 2019, section 2."""
    size = stride = 1
    ahead = 0
    for _, window, strides, padding in layers:
        size += (window - 1) * stride
        ahead += padding * stride
        stride *= strides
    return size, stride, ahead


LAYERS = st.lists(
    st.tuples(
        st.sampled_from(["conv", "pool"]), st.integers(1, 4), st.integers(1, 3),
        st.integers(0, 1),
    ).filter(lambda layer: layer[1] > layer[3]),
    min_size=1, max_size=3,
)  # fmt: skip


@settings(max_examples=40, deadline=None, derandomize=True)
@given(LAYERS)
def test_a_chain_is_the_closed_form(layers):
    found = receptive_fields(lambda x: chain(x, *layers), IMAGES)
    size, stride, ahead = recursion(layers)
    assert found == ((size, size), (stride, stride), (ahead, ahead))


def test_theory_is_where_gradients_are():
    """Of a network with branches, tiles, reshapes, strides and a window that is not
    square, at several positions."""
    kernels = [
        jnp.abs(jax.random.normal(jax.random.key(i), (k, l, c, 4)))
        for i, (k, l, c) in enumerate([(3, 5, 3), (3, 3, 4), (1, 1, 4), (2, 2, 4)])
    ]

    def network(x):
        x = conv2d(x, kernels[0], strides=(1, 2), padding=((1, 1), (2, 2)))
        x = conv2d(x, kernels[1]) + conv2d(x, kernels[2])
        x = avg_pool(x, 2)  # a reshape and a sum
        x = avg_pool(x, 3, 1, 1)
        return conv2d(x, kernels[3], dilation=2, padding="VALID")

    images = jnp.ones((1, 40, 48, 3))
    field = receptive_fields(network, images)
    shape = jax.eval_shape(network, images).shape
    compiled = jax.jit(network)
    for row, column in ((0, 0), (4, 3), (shape[1] - 1, shape[2] - 1)):
        found = extent(effective_field(compiled, images, (row, column))).box
        left, top, right, bottom = field.box(row, column)
        inside = max(left, 0), max(top, 0), min(right, 48), min(bottom, 40)
        assert found == inside, (row, column)


def test_enlarged_maps_have_smaller_strides():
    def up(x):
        small = max_pool(x, 4)
        kernel = jnp.ones((2, 2, 3, 3))
        return {
            "nearest": upsample(small),
            "bilinear": upsample(small, "bilinear"),
            "transposed": conv_transpose(small, kernel, strides=2),
        }

    found = receptive_fields(up, IMAGES)
    assert {name: field.stride for name, field in found.items()} == {
        "nearest": (2, 2), "bilinear": (2, 2), "transposed": (2, 2)
    }  # fmt: skip
    assert found["nearest"].size == found["transposed"].size == (4, 4)
    assert found["bilinear"].size == (8, 8)


def test_what_is_global_sees_everything_or_is_left_out():
    kernel = jnp.ones((3, 3, 3, 3))

    def squeezed(x):
        x = conv2d(x, kernel)
        gate = jax.nn.sigmoid(global_avg_pool(x))[:, None, None]
        return {"map": x * gate, "mean": global_avg_pool(x), "constant": kernel}

    found = receptive_fields(squeezed, IMAGES)
    assert found["map"].size == found["mean"].size == (np.inf, np.inf)
    assert found["constant"].size == (0, 0)
    found = receptive_fields(squeezed, IMAGES, squeeze=False)
    assert found["map"].size == (3, 3) and found["map"].padding == (1, 1)
    assert found["mean"].size == (0, 0)


def test_attention_and_what_is_not_known_see_everything():
    seen = []

    def attention(x):
        tokens = x.reshape(1, -1, 3)
        weights = jnp.einsum("bic,bjc->bij", tokens, tokens)
        return jnp.einsum("bij,bjc->bic", weights, tokens)

    found = receptive_fields(attention, IMAGES, note=seen.append)
    assert found.size == (np.inf, np.inf) and len(seen) == 2

    def looked_up(x):
        return lax.dynamic_slice(x, (0, jnp.int32(x.sum()), 0, 0), (1, 3, 96, 3))

    assert receptive_fields(looked_up, IMAGES).size == (np.inf, np.inf)
    with pytest.raises(UsageError, match=r"\[B,H,W,C\]"):
        receptive_fields(lambda x: x, jnp.ones((3, 3)))


# Table 2 of Araujo et al. 2019: size, stride and padding at the end of the feature
# extractor of TensorFlow's networks, and what is ours, from torchvision or timm.
PUBLISHED = {
    # Its first convolution has no padding there, and two pixels here: 64 + 2.
    "alexnet": ("stage3", (195, 32, 64), (195, 32, 66)),
    "alexnet_2012": ("stage3", (195, 32, 64), (195, 32, 64)),
    "vgg16": ("stage5", (212, 32, 90), (212, 32, 90)),
    # Blocks that halve do so in their first 3×3 here ("v1.5"), and at their end there.
    "resnet50": ("stage4", (483, 32, 239), (427, 32, 213)),
    "inception_v3": ("stage5", (1311, 32, 618), (1311, 32, 618)),
    # TensorFlow pads what strides below and to the right only, here both sides.
    "mobilenetv1_100": ("stage5", (315, 32, 126), (315, 32, 157)),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_networks_of_the_published_table(name):
    output, _, ours = PUBLISHED[name]
    field = measures.receptive_fields(name)[output]
    assert field == tuple((number, number) for number in ours)


def bottlenecks(x, stem_padding, stride_in):
    """ResNet-50's windows: where blocks halve decides what they see."""
    x = chain(x, ("conv", 7, 2, 3), ("pool", 3, 2, stem_padding))
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for block in range(blocks):
            halves = {
                "first 1×1": stage > 0 and block == 0,
                "first 3×3": stage > 0 and block == 0,
                "last 3×3": stage < 3 and block == blocks - 1,
            }[stride_in]
            first = 2 if halves and stride_in == "first 1×1" else 1
            second = 2 if halves and "3×3" in stride_in else 1
            skip = x[:, :: first * second, :: first * second]
            x = skip + chain(x, ("conv", 1, first, 0), ("conv", 3, second, 1))
    return x


@pytest.mark.parametrize(
    "padding, stride_in, expected",
    [
        ([[0, 1], [0, 1]], "last 3×3", (483, 32, 239)),  # TensorFlow's, as published
        (1, "first 1×1", (483, 32, 241)),  # the paper's, whose pooling is padded by one
        (1, "first 3×3", (427, 32, 213)),  # v1.5
    ],
)
def test_resnet50_by_where_it_strides(padding, stride_in, expected):
    images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    found = receptive_fields(lambda x: bottlenecks(x, padding, stride_in), images)
    assert found == tuple((number, number) for number in expected)
