"""The normalisation of images that published ImageNet weights expect."""

import jax
import jax.numpy as jnp

from jaxvision.ops.precision import at_least_float32

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""Statistics of red, green and blue over ImageNet, for pixels from 0 to 1."""

HALVES = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
"""The mean and the deviation that make pixels from -1 to 1."""

BYTES = (0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)
"""Those that leave pixels from 0 to 255 as they are."""


def from_imagenet_statistics(images_BxHxWx3: jax.Array) -> jax.Array:
    """Images of mean 0 and deviation 1 over ImageNet, back to pixels from -1 to 1."""
    wide = at_least_float32(images_BxHxWx3.dtype)
    mean, std = (jnp.array([[[values]]], wide) for values in (MEAN, STD))
    return (2 * (images_BxHxWx3.astype(wide) * std + mean) - 1).astype(
        images_BxHxWx3.dtype
    )
