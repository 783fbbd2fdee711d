"""Our convolution behind the signature of JAX's, for layers that are not ours.

On CPU the gradients of `jax.lax.conv_general_dilated` are a hundred times slower in a
`lax.scan` than outside, and several steps of one dispatch are one.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from jaxvision.ops import target
from jaxvision.ops.convolution import conv2d
from jaxvision.types import Array


def conv_general_dilated(
    lhs: Array,
    rhs: Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    **options,
) -> Array:
    """`jax.lax.conv_general_dilated`, by `conv2d` wherever that is another form of it.

    So it is on CPU, for one or two dimensions with channels last and without dilation
    of the images.  What `conv2d` says of derivatives then holds.
    """
    ours = (
        target.is_cpu()
        and lhs.ndim in (3, 4)
        and _has_channels_last(lhs, rhs, dimension_numbers)
        and set(lhs_dilation or ()) <= {1}
        and batch_group_count == 1
        and _is_known(padding)
        and lhs.dtype == rhs.dtype
        and jnp.issubdtype(lhs.dtype, jnp.floating)
        and options.get("preferred_element_type") in (None, lhs.dtype)
        and options.get("out_sharding") is None
    )
    if not ours:
        return lax.conv_general_dilated(
            lhs,
            rhs,
            window_strides,
            padding,
            lhs_dilation,
            rhs_dilation,
            dimension_numbers,
            feature_group_count,
            batch_group_count,
            **options,
        )
    # One dimension is two, of which the first has a single row.
    row = (1,) * (4 - lhs.ndim)
    if not isinstance(padding, str):
        padding = [(0, 0)] * len(row) + [(low, high) for low, high in padding]
    y = conv2d(
        lhs.reshape(len(lhs), *row, *lhs.shape[1:]),
        rhs.reshape(*row, *rhs.shape),
        strides=(*row, *window_strides),
        padding=padding,
        dilation=(*row, *(rhs_dilation or (1,) * (lhs.ndim - 2))),
        groups=feature_group_count,
    )
    return y.reshape(len(y), *y.shape[1 + len(row) :])


def _is_known(padding: str | Sequence[tuple[int, int]]) -> bool:
    if isinstance(padding, str):
        return padding in ("SAME", "VALID")
    return all(low >= 0 and high >= 0 for low, high in padding)


def _has_channels_last(lhs: Array, rhs: Array, dimension_numbers: Any) -> bool:
    """Whether they are [B,H,W,C] and [K,K,C,O], or the same of one dimension."""
    last = lhs.ndim - 1
    found = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    images = (0, last, *range(1, last))
    return found == (images, (last, last - 1, *range(last - 1)), images)
