"""Blur, sharpening and noise."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxvision.errors import check
from jaxvision.ops.augment import tone
from jaxvision.ops.augment.composition import once, select
from jaxvision.ops.augment.recipes import Transform, with_recipe
from jaxvision.ops.augment.rules import in_order, within
from jaxvision.ops.filters.linear import along
from jaxvision.ops.filters.smoothing import bell
from jaxvision.ops.resample import as_type

Array = jax.Array


@with_recipe
def gaussian_blur(
    sigma: tuple[Any, Any] = (0.1, 2.0),
    *,
    kernel: int | None = None,
    probability: Any = 0.5,
) -> Transform:
    """Blurs each image by a Gaussian.  Chen et al. 2020 (SimCLR), appendix A.

    Args:
      sigma: least and greatest standard deviation, in pixels; uniform.  May be traced.
      kernel: pixels that are mixed along each axis, an odd number; None: a tenth of
        the image's height, as in the paper, and three at least.
      probability: with which an image is blurred.  May be traced.

    The image is mirrored at its borders, at the centres of the outermost pixels.
    """
    check(
        in_order("sigma", sigma, 1e-3),
        (
            kernel is None or (kernel >= 1 and kernel % 2 == 1),
            f"kernel must be odd and positive, got {kernel}",
        ),
        within("probability", probability, 0, 1),
    )

    def transform(key, batch):
        images = batch["image"]
        count, height, width, _ = images.shape
        size = kernel or max(height // 10 // 2 * 2 + 1, 3)
        check(
            (
                size // 2 < min(height, width),
                f"a kernel of {size} pixels reaches further than images of "
                f"{height}×{width} pixels: take a smaller one",
            )
        )
        draws = jax.random.uniform(key, (2, count))
        blurred = blur(images, sigma[0] + draws[0] * (sigma[1] - sigma[0]), size)
        happens = draws[1] < probability
        return {**batch, "image": select(happens, [images, blurred])}

    return transform


@with_recipe
def gaussian_noise(deviation: tuple[Any, Any] = (0.0, 25.0)) -> Transform:
    """Adds noise to every value, of a standard deviation that is uniform in the range.

    deviation: least and greatest, in the units of the image: levels from 0 to 255 for
      bytes, which are clipped, and normalised units after `normalise`.  May be traced.
    """
    check(in_order("deviation", deviation, 0))

    def transform(key, batch):
        images = batch["image"]
        draw, strength = jax.random.split(key)
        deviations = jax.random.uniform(
            strength, (len(images), 1, 1, 1), minval=deviation[0], maxval=deviation[1]
        )
        noise = deviations * jax.random.normal(draw, images.shape)
        noisy = images.astype(noise.dtype) + noise
        return {**batch, "image": as_type(noisy, images.dtype)}

    return transform


def blur(images: Array, sigmas: Array, size: int) -> Array:
    """Images [B,H,W,C] blurred by Gaussians of deviations `sigmas` [B].

    The kernel of the Gaussian is cut to `size`×`size` pixels.
    """
    weights = bell(sigmas, size // 2)
    of_images = [weights[:, i, None, None, None] for i in range(size)]
    result = images.astype(jnp.float32)
    for axis in (1, 2):
        result = along(result, axis, of_images, "reflect")
    return as_type(result, images.dtype)


def smooth(images: Array) -> Array:
    """uint8 images under Pillow's `SMOOTH`: a 3×3 mean in which the centre counts 5.

    The outermost pixels stay as they are.
    """
    values = images.astype(jnp.int32)
    height, width = values.shape[1:3]
    padded = once(jnp.pad(values, ((0, 0), (1, 1), (1, 1), (0, 0))))
    total = 4 * values + sum(
        padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)
    )
    rows, columns = jnp.arange(height)[:, None], jnp.arange(width)[None]
    inner = (rows > 0) & (rows < height - 1) & (columns > 0) & (columns < width - 1)
    mean = (2 * total + 13) // 26  # rounded
    return jnp.where(inner[None, ..., None], mean, values).astype(images.dtype)


def sharpen(images: Array, factor: Array | float) -> Array:
    """Smooth at factor 0, the image at 1, sharper above (`ImageEnhance.Sharpness`)."""
    blended = tone.blend(smooth(images), images.astype(jnp.int32), factor)
    return blended.astype(images.dtype)
