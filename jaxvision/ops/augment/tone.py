"""What Pillow makes of the values of an image, each by a table of 256 entries.

A table is int32 [B,C,256], for each image and channel what becomes of every byte; one
lookup then does the work, whatever the operation, which is how `policies` can give
each image of a batch an operation of its own.  Images are uint8 [B,H,W,C], strengths
are numbers or [B].
"""

import jax
import jax.numpy as jnp

from jaxvision.ops.augment.composition import once

Array = jax.Array

LEVELS = 256


def look_up(images: Array, table: Array) -> Array:
    """The images with every byte replaced by its entry."""
    channels = images.shape[-1]

    def of_one(image, table):
        index = image.astype(jnp.int32) + LEVELS * jnp.arange(channels)[None, None]
        return table.reshape(-1).at[index].get(mode="promise_in_bounds")

    return jax.vmap(of_one)(images, once(table.astype(jnp.uint8)))


def identity(images: Array) -> Array:
    """The table that changes nothing."""
    shape = (len(images), images.shape[-1], LEVELS)
    return jnp.broadcast_to(jnp.arange(LEVELS), shape)


def invert(images: Array) -> Array:
    """255 less the value."""
    return 255 - identity(images)


def brightness(images: Array, factor: Array | float) -> Array:
    """Black at factor 0, the image at 1, brighter above (`ImageEnhance.Brightness`)."""
    return blend(0, identity(images), factor)


def contrast(images: Array, factor: Array | float) -> Array:
    """The mean grey at factor 0, the image at 1 (`ImageEnhance.Contrast`)."""
    total = jnp.sum(grey(images).astype(jnp.uint32), axis=(1, 2, 3))
    pixels = images.shape[1] * images.shape[2]
    mean = (2 * total + pixels) // (2 * pixels)  # rounded
    return blend(mean.astype(jnp.int32)[:, None, None], identity(images), factor)


def posterize(images: Array, bits: Array | int) -> Array:
    """Values with only their highest `bits`, 0 to 8 (`ImageOps.posterize`)."""
    dropped = 8 - _per_image(jnp.asarray(bits, jnp.int32))
    return (identity(images) >> dropped) << dropped


def solarize(images: Array, threshold: Array | float) -> Array:
    """Values from `threshold` on, 0 to 256, inverted (`ImageOps.solarize`)."""
    values = identity(images)
    below = values.astype(jnp.float32) < _per_image(threshold)
    return jnp.where(below, values, 255 - values)


def autocontrast(images: Array) -> Array:
    """Each channel stretched to the range 0 to 255 (`ImageOps.autocontrast`)."""
    low, high = (
        extreme(images, axis=(1, 2)).astype(jnp.int32)[:, :, None]
        for extreme in (jnp.min, jnp.max)
    )
    values = identity(images)
    stretched = (values - low) * 255 // jnp.maximum(high - low, 1)
    return jnp.where(high > low, jnp.clip(stretched, 0, 255), values)


def equalize(images: Array) -> Array:
    """Each channel with as many pixels of every value (`ImageOps.equalize`)."""
    counts = histogram(images)
    values = identity(images)
    highest = jnp.max(jnp.where(counts > 0, values, 0), axis=-1, keepdims=True)
    of_highest = jnp.take_along_axis(counts, highest, axis=-1)
    step = (jnp.sum(counts, axis=-1, keepdims=True) - of_highest) // 255
    below = jnp.cumsum(counts, axis=-1) - counts
    table = jnp.minimum((step // 2 + below) // jnp.maximum(step, 1), 255)
    return jnp.where(step > 0, table, identity(images))


def histogram(images: Array) -> Array:
    """int32 [B,C,256]: how often each value occurs in each channel."""
    shape = (len(images), images.shape[-1], LEVELS)
    first = LEVELS * jnp.arange(shape[0] * shape[1]).reshape(shape[0], 1, 1, shape[1])
    index = (images.astype(jnp.int32) + first).reshape(-1)
    counts = jnp.zeros(shape, jnp.int32).reshape(-1)
    return counts.at[index].add(1, mode="promise_in_bounds").reshape(shape)


def grey(images: Array) -> Array:
    """uint8 [B,H,W,1]: the luminance of ITU-R 601-2, rounded as Pillow's mode L."""
    if images.shape[-1] == 1:
        return images
    red, green, blue = (images[..., i].astype(jnp.int32) for i in range(3))
    return ((19595 * red + 38470 * green + 7471 * blue + 32768) >> 16).astype(
        jnp.uint8
    )[..., None]


def blend(degenerate: Array | int, values: Array, factor: Array | float) -> Array:
    """int32: `degenerate` at factor 0, `values` at 1, beyond them elsewhere.

    Cut to 0 … 255, and the fraction dropped, as in Pillow's `Image.blend`.
    """
    start, end = (jnp.asarray(v, jnp.float32) for v in (degenerate, values))
    mixed = start + _per_image(factor, values.ndim) * (end - start)
    return jnp.clip(mixed, 0, 255).astype(jnp.int32)


def _per_image(strength: Array | float, ndim: int = 3) -> Array:
    """A strength for all or [B], to be used with arrays [B,…] of `ndim` axes."""
    strength = jnp.asarray(strength)
    return strength.reshape(strength.shape + (1,) * (ndim - 1) if strength.ndim else ())
