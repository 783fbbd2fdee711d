"""Point operations: each value of an image becomes another, wherever it is.

Bytes stay bytes, by a table of 256 entries, rounded to the nearest and cut to 0 … 255.
Floats are from 0 (black) to 1 (white), and are not cut.
"""

from collections.abc import Callable

import jax.numpy as jnp

from jaxvision.errors import check
from jaxvision.ops.augment import tone
from jaxvision.ops.filters.borders import as_float
from jaxvision.ops.resample import as_type
from jaxvision.types import Array


def of_values(images_BxHxWxC: Array, change: Callable[[Array], Array]) -> Array:
    """The images with each value changed, where black is 0 and white is 1."""
    values = as_float(images_BxHxWxC, "a point operation")
    if jnp.issubdtype(images_BxHxWxC.dtype, jnp.floating):
        return change(values).astype(jnp.asarray(images_BxHxWxC).dtype)
    levels = jnp.arange(tone.LEVELS, dtype=jnp.float32) / 255
    changed = as_type(255 * change(levels), jnp.dtype(jnp.uint8))
    shape = (len(images_BxHxWxC), images_BxHxWxC.shape[-1], tone.LEVELS)
    table = jnp.broadcast_to(changed[None, None], shape)
    return tone.look_up(images_BxHxWxC, table)


def invert(images_BxHxWxC: Array) -> Array:
    """The negative: white less the value."""
    return of_values(images_BxHxWxC, lambda x: 1 - x)


def affine(images_BxHxWxC: Array, gain: float | Array, offset: float | Array) -> Array:
    """`gain · x + offset`: contrast and brightness, the offset in shares of white."""
    return of_values(images_BxHxWxC, lambda x: gain * x + offset)


def gamma(images_BxHxWxC: Array, exponent: float) -> Array:
    """`x ** exponent`: darker above 1, brighter below; exponents are positive.

    Of floats below 0, which have no power, the result is 0.
    """
    check((exponent > 0, f"the exponent must be positive, got {exponent}"))

    def power(x):
        dark = x <= 0
        return jnp.where(dark, 0, jnp.where(dark, 1, x) ** exponent)

    return of_values(images_BxHxWxC, power)


def logarithm(images_BxHxWxC: Array) -> Array:
    """`log2(1 + x)`, which spreads the dark values; floats are greater than -1."""
    return of_values(images_BxHxWxC, lambda x: jnp.log1p(x) / jnp.log(2.0))


def threshold(images_BxHxWxC: Array, level: float | Array) -> Array:
    """White above the level, in shares of white, and black elsewhere."""
    return of_values(images_BxHxWxC, lambda x: (x > level).astype(x.dtype))


def equalise(images_BxHxWxC: Array) -> Array:
    """Bytes with as many pixels of every value in each channel, as Pillow's
    `ImageOps.equalize`."""
    dtype = images_BxHxWxC.dtype
    check((dtype == jnp.uint8, f"a histogram is of bytes (uint8), got {dtype}"))
    as_float(images_BxHxWxC, "equalise")
    return tone.look_up(images_BxHxWxC, tone.equalize(images_BxHxWxC))
