"""Means of those pixels around a pixel that look like it."""

import jax.numpy as jnp

from jaxvision.errors import check
from jaxvision.ops.filters.borders import Border, as_float
from jaxvision.ops.filters.neighbourhoods import adjacent, disc
from jaxvision.ops.resample import as_type
from jaxvision.types import Array


def bilateral(
    images_BxHxWxC: Array,
    radius: int,
    *,
    sigma_space: float | Array,
    sigma_colour: float | Array,
    border: Border = "reflect",
) -> Array:
    """Smooths and keeps edges: a pixel counts by its distance and by its difference.

    Both weigh by a Gaussian, of deviation `sigma_space` in pixels and `sigma_colour` in
    the units of the images, of the Euclidean distance of all channels.  Pixels of a
    disc of this radius count.  Deviations may be traced.  Tomasi and Manduchi 1998,
    https://doi.org/10.1109/ICCV.1998.710815.
    """
    images = as_float(images_BxHxWxC, "bilateral")
    check((radius >= 0, f"radius must be at least 0, got {radius}"))
    of_space, of_colour = (
        -0.5 / jnp.square(jnp.asarray(sigma, images.dtype))
        for sigma in (sigma_space, sigma_colour)
    )
    around = disc(radius)
    total = weights = jnp.zeros((), images.dtype)
    for (down, right), pixels in zip(
        around.tolist(), adjacent(images, around, border), strict=True
    ):
        distance = jnp.square(pixels - images).sum(axis=-1, keepdims=True)
        squared = jnp.asarray(down**2 + right**2, images.dtype)
        weight = jnp.exp(of_colour * distance + of_space * squared)
        total = total + weight * pixels
        weights = weights + weight
    return as_type(total / weights, jnp.asarray(images_BxHxWxC).dtype)
