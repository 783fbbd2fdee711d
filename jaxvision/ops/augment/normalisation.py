"""From bytes to floats."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from jaxvision.errors import check
from jaxvision.ops.augment.recipes import Transform, with_recipe
from jaxvision.ops.augment.rules import bytes_of


@with_recipe
def normalise(mean: float | Sequence[float], std: float | Sequence[float]) -> Transform:
    """Bytes in [0, 255] to float32 `(images/255 - mean) / std`, per channel."""
    check((bool(np.all(np.asarray(std) > 0)), f"std must be positive, got {std}"))
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
