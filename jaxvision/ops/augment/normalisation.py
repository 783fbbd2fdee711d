"""From bytes to floats."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from jaxvision.errors import check
from jaxvision.ops.augment.recipes import Transform, with_recipe
from jaxvision.ops.augment.rules import bytes_of


@with_recipe
def normalise(mean: float | Sequence[float], std: float | Sequence[float]) -> Transform:
    """Bytes in [0, 255] to float32 `(images/255 - mean) / std`, per channel.

    Raises `UsageError` for a std that is not positive, and for statistics of images in
    [0, 255], such as a mean of 123.68: those here are of images in [0, 1].
    """
    largest = np.max([np.max(np.abs(mean)), np.max(std)])
    check(
        (bool(np.all(np.asarray(std) > 0)), f"std must be positive, got {std}"),
        (
            bool(largest <= 1),
            f"mean and std are those of images from 0 to 1, got {mean} and {std}: "
            "divide both by 255 if they are of bytes",
        ),
    )
    channels = np.size(np.asarray(mean) + np.asarray(std))

    def transform(key, batch):
        del key
        images = bytes_of(batch, "normalise")
        check(
            (
                channels in (1, images.shape[-1]),
                f"the mean and std are of {channels} channels, and the images have "
                f"{images.shape[-1]}: choose another data set, or other statistics",
            )
        )
        centre, scale = (
            jnp.asarray(numbers, jnp.float32).reshape(1, 1, 1, -1)
            for numbers in (mean, std)
        )
        scaled = images.astype(jnp.float32) / 255 - centre
        return {**batch, "image": scaled / scale}

    return transform
