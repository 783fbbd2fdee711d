"""Normalisation as image processing has it: of one image, of a batch, of windows.

That of networks during training is `batch_norm`, and that of bytes for a network
`augment.normalise`.  Images are bytes or floats [B,H,W,C], results float32.
"""

from typing import Literal

import jax.numpy as jnp
import numpy as np

from jaxvision.errors import check, unknown
from jaxvision.ops.convolution import Pair
from jaxvision.ops.filters.borders import as_float, odd
from jaxvision.ops.filters.linear import separable
from jaxvision.types import Array

_AXES = {"image": (1, 2), "batch": (0,)}


def linear(images_BxHxWxC: Array, over: Literal["image", "batch"] = "image") -> Array:
    """`(x - min) / (max - min)`, from 0 to 1.

    over: of what minimum and maximum are taken: all pixels of a channel of the
      `image`, or of a `batch` all values at one pixel and channel.  Where both are
      equal the result is 0.
    """
    images = as_float(images_BxHxWxC, "linear normalisation")
    if over not in _AXES:
        raise unknown("set to normalise over", over, _AXES)
    check((len(images) > 0, "there is no image to normalise"))
    low = images.min(_AXES[over], keepdims=True)
    spread = images.max(_AXES[over], keepdims=True) - low
    return (images - low) / jnp.where(spread == 0, 1, spread)


def divisive(images_BxHxWxC: Array, window: Pair) -> Array:
    """Each pixel divided by the root of the sum of squares around it, in [-1, 1].

    The window has odd (height, width); pixels beyond the image count as 0.  Of zeros
    alone the result is 0, and so is its gradient.
    """
    images = as_float(images_BxHxWxC, "divisive normalisation")
    height, width = odd("window", window)
    squares = separable(
        images * images, np.ones(height), np.ones(width), border="zeros"
    )
    empty = squares == 0
    return jnp.where(empty, 0, images / jnp.sqrt(jnp.where(empty, 1, squares)))


def standardised(
    x: Array,
    scale: Array | float = 1.0,
    bias: Array | float = 0.0,
    *,
    epsilon: float = 1e-5,
    axes: tuple[int, ...] = (0,),
) -> Array:
    """`(x - mean) / (σ + ε) · scale + bias`, with the sample's σ², of n - 1.

    Batch normalisation as in lectures.  What networks train with, `batch_norm`, divides
    by √(σ² + ε) with the σ² of n; the two differ by √(n/(n - 1)) and where σ is near ε.

    Args:
      x: [B,…,C] with at least two values along the axes.
      scale, bias: γ and β, of each channel [C] or for all; they may be learned.
      axes: over which mean and σ are taken: (0,) for each pixel of a batch by itself,
        (0, 1, 2) for each channel of images.
    """
    count = np.prod([x.shape[axis] for axis in axes])
    check(
        (
            bool(count >= 2),
            f"σ of n - 1 needs two values at least, got {count} along {axes}",
        )
    )
    centred = x - x.mean(axes, keepdims=True)
    variance = jnp.sum(centred * centred, axes, keepdims=True) / float(count - 1)
    constant = variance == 0  # whose root has no derivative
    deviation = jnp.where(constant, 0, jnp.sqrt(jnp.where(constant, 1, variance)))
    of_channels = (
        jnp.asarray(each, x.dtype).reshape((1,) * (x.ndim - 1) + (-1,))
        for each in (scale, bias)
    )
    gamma, beta = of_channels
    return centred / (deviation + epsilon) * gamma + beta
