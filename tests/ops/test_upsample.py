"""Upsampling by two against JAX's own, and their gradients."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxvision.errors import UsageError
from jaxvision.ops.upsample import (
    conv_transpose,
    conv_transpose_2x2,
    resize,
    upsample,
)


def images(dtype=jnp.float32):
    draw = np.random.default_rng(0).standard_normal
    return jnp.asarray(draw((2, 3, 5, 4)), dtype)


def with_gradient(function, *operands):
    def loss(*operands):
        return jnp.sin(function(*operands)).sum()

    return function(*operands), jax.grad(loss, range(len(operands)))(*operands)


def assert_close(got, wanted):
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", ["nearest", "bilinear"])
def test_is_what_jax_makes(method):
    def resized(x):
        return jax.image.resize(x, (2, 6, 10, 4), method)

    got = with_gradient(lambda x: upsample(x, method), images())
    assert_close(got, with_gradient(resized, images()))


def test_nearest_repeats_pixels():
    pixels = jnp.arange(4.0).reshape(1, 2, 2, 1)
    wanted = [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
    np.testing.assert_array_equal(upsample(pixels)[0, :, :, 0], wanted)


@pytest.mark.parametrize("method", ["nearest", "bilinear"])
def test_type_stays(method):
    assert upsample(images(jnp.bfloat16), method).dtype == jnp.bfloat16


def as_gradient(like, strides, padding=0):
    """The transposed convolution that is the gradient of one from maps like `like`."""

    def transposed(x, kernel):
        def convolve(y):  # from O to C channels
            orders, pads = ("NHWC", "HWOI", "NHWC"), ((padding, padding),) * 2
            return lax.conv_general_dilated(
                y, kernel, (strides, strides), pads, dimension_numbers=orders
            )

        return jax.linear_transpose(convolve, jnp.zeros(like))(x)[0]

    return transposed


def kernel(*shape):
    return jnp.asarray(np.random.default_rng(1).standard_normal(shape), jnp.float32)


def test_transposed_convolution_is_the_gradient_of_a_convolution():
    operands = images(), kernel(2, 2, 4, 3)
    got = with_gradient(conv_transpose_2x2, *operands)
    assert_close(got, with_gradient(as_gradient((2, 6, 10, 3), 2), *operands))


@pytest.mark.slow
@pytest.mark.parametrize(
    "reach, strides, padding",
    # Windows with a rest, with gaps between them, and the default of 4.
    [(5, 2, 1), (2, 3, 0), (4, None, None)],
)
def test_any_transposed_convolution_is_the_gradient_of_a_convolution(
    reach, strides, padding
):
    def ours(x, kernel_KxKxOxC):
        return conv_transpose(x, kernel_KxKxOxC, strides=strides, padding=padding)

    def reference(x, kernel_KxKxOxC):
        # A convolution of `lax` has the channels that it reads first: the outputs.
        s, p = (strides, padding) if strides else (2, 1)
        size = [(n - 1) * s + reach - 2 * p for n in x.shape[1:3]]
        return as_gradient((2, *size, 3), s, p)(x, kernel_KxKxOxC.swapaxes(2, 3))

    operands = images(), kernel(reach, reach, 3, 4)
    assert_close(with_gradient(ours, *operands), with_gradient(reference, *operands))


def test_bad_input_is_a_usage_error():
    with pytest.raises(UsageError, match="did you mean 'bilinear'"):
        upsample(images(), "bilinaer")
    with pytest.raises(UsageError, match=r"\[B,H,W,C\], got \(3, 5, 4\)"):
        upsample(images()[0])
    with pytest.raises(
        UsageError, match=r"kernel \[2,2,C,O\], got images \(2, 3, 5, 4\)"
    ):
        conv_transpose_2x2(images(), jnp.zeros((3, 3, 4, 2)))
    with pytest.raises(UsageError, match=r"a kernel \[K,K,O,C\], got images"):
        conv_transpose(images(), jnp.zeros((4, 4, 4, 2)), strides=2)
    with pytest.raises(UsageError, match="padding 9 leave nothing"):
        conv_transpose(images(), jnp.zeros((4, 4, 2, 4)), padding=9)
    with pytest.raises(UsageError, match="no padding makes maps 2 times as large"):
        conv_transpose(images(), jnp.zeros((3, 3, 2, 4)), strides=2)
    with pytest.raises(UsageError, match=r"resize to \(0, 3\)"):
        resize(images(), (0, 3))


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(6, 20), (7, 5), (4, 1), (2, 99)])
def test_resizing_interpolates_along_each_axis(size, align_corners):
    def places(have, want):
        if align_corners:
            return np.linspace(0, have - 1, want)
        return (np.arange(want) + 0.5) * have / want - 0.5

    x = np.float64(images())
    for axis, want in ((1, size[0]), (2, size[1])):
        have = x.shape[axis]
        line = partial(np.interp, places(have, want), np.arange(have))
        x = np.apply_along_axis(line, axis, x)
    resized = resize(images(), size, align_corners=align_corners)
    np.testing.assert_allclose(resized, x, rtol=1e-5, atol=1e-5)


def test_gradients_of_resizing_are_its_transpose():
    def resized(x):
        return resize(x, (9, 200), align_corners=True)

    x, y = images(), jnp.cos(jnp.arange(2.0 * 9 * 200 * 4)).reshape(2, 9, 200, 4)
    (back,) = jax.vjp(resized, x)[1](y)
    np.testing.assert_allclose(jnp.vdot(back, x), jnp.vdot(y, resized(x)), rtol=1e-4)
    assert resize(x.astype(jnp.bfloat16), (9, 11)).dtype == jnp.bfloat16
