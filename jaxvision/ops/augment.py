"""Image transforms on the device.

Every transform is a function `(key, images) -> images` on a batch [B,H,W,C], pure and
traceable; those that draw nothing ignore the key.  `compose` makes one of several.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from jaxvision.errors import check

Array = jax.Array
Transform = Callable[[Array, Array], Array]


def compose(*transforms: Transform) -> Transform:
    """The transforms one after the other, each with a key of its own."""

    def transform(key, images):
        for index, step in enumerate(transforms):
            images = step(jax.random.fold_in(key, index), images)
        return images

    return transform


def normalise(mean: float | Sequence[float], std: float | Sequence[float]) -> Transform:
    """Bytes in [0, 255] to float32 `(images/255 - mean) / std`, per channel."""
    check((bool(jnp.all(jnp.asarray(std) > 0)), f"std must be positive, got {std}"))
    channels = jnp.size(jnp.asarray(mean) + jnp.asarray(std))

    def transform(key, images):
        del key
        check(
            (
                channels in (1, images.shape[-1]),
                f"the mean and std are of {channels} channels, and the images have "
                f"{images.shape[-1]}: choose another data set, or other statistics",
            )
        )
        return (images.astype(jnp.float32) / 255 - jnp.array(mean)) / jnp.array(std)

    return transform


def pad(width: int, value: float = 0) -> Transform:
    """`width` pixels of `value` on every side."""
    check((width >= 0, f"width of the padding must not be negative, got {width}"))

    def transform(key, images):
        del key
        border = ((0, 0), (width, width), (width, width), (0, 0))
        return jnp.pad(images, border, constant_values=value)

    return transform


def random_flip(key: Array, images: Array) -> Array:
    """Mirrors each image left to right with probability one half."""
    flip = jax.random.bernoulli(key, shape=(images.shape[0], 1, 1, 1))
    return jnp.where(flip, images[:, :, ::-1], images)


def random_shift(distance: int, value: float = 0) -> Transform:
    """Moves each image by up to `distance` pixels along each axis, filling `value`.

    With distance 4 it is the pad-and-crop of He et al. 2016, section 4.2.
    """
    check((distance >= 0, f"distance must not be negative, got {distance}"))

    def transform(key, images):
        count, height, width, channels = images.shape
        padded = pad(distance, value)(key, images)
        corners = jax.random.randint(key, (count, 2), 0, 2 * distance + 1)

        def crop(image, corner):
            return jax.lax.dynamic_slice(
                image, (corner[0], corner[1], 0), (height, width, channels)
            )

        return jax.vmap(crop)(padded, corners)

    return transform
