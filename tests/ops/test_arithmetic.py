"""Sizes, parameters and memory of layers, against what the layers do."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxvision.errors import UsageError
from jaxvision.ops import arithmetic
from jaxvision.ops.convolution import conv2d


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.integers(1, 40), st.integers(1, 9), st.integers(1, 5), st.integers(0, 4),
    st.integers(1, 3),
)  # fmt: skip
def test_sizes_are_those_of_convolution(size, window, stride, padding, dilation):
    options = dict(stride=stride, padding=padding, dilation=dilation)
    images = jax.ShapeDtypeStruct((1, size, size, 1), np.float32)
    kernel = jax.ShapeDtypeStruct((window, window, 1, 1), np.float32)

    def convolve(images, kernel):
        return conv2d(
            images, kernel, strides=stride, padding=padding, dilation=dilation
        )

    try:
        expected = jax.eval_shape(convolve, images, kernel).shape[1]
    except UsageError:
        with pytest.raises(UsageError, match="larger than"):
            arithmetic.output_size(size, window, **options)
        return
    assert arithmetic.output_size(size, window, **options) == expected
    room = size + 2 * padding - (window - 1) * dilation - 1
    if room % stride:
        with pytest.raises(UsageError, match="no whole number"):
            arithmetic.output_size(size, window, whole=True, **options)
    else:
        assert arithmetic.output_size(size, window, whole=True, **options) == expected


def test_a_size_that_does_not_fit_comes_with_what_would():
    with pytest.raises(UsageError) as error:
        arithmetic.output_size(10, 3, stride=2, whole=True)
    assert "use stride 1" in str(error.value) and "9 or 11 pixels" in str(error.value)
    assert "padding" not in str(error.value).split("use stride")[1]  # 7 + 2P is odd
    with pytest.raises(UsageError, match="padding 1"):
        arithmetic.output_size(5, 2, stride=5, whole=True)
    for bad in (dict(stride=0), dict(padding=-1), dict(dilation=0)):
        with pytest.raises(UsageError, match="must be at least"):
            arithmetic.output_size(10, 3, **bad)


def test_memory_of_a_chain():
    assert arithmetic.memory([10, 40, 20, 5]) == (4 * 60, 4 * 75)
    assert arithmetic.memory([7], bytes_each=2) == (14, 14)
