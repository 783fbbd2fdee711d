"""Which places matter, by covering them.  Zeiler and Fergus 2014, section 4.2.

https://arxiv.org/abs/1311.2901
"""

import jax.numpy as jnp
import numpy as np

from jaxvision.errors import check
from jaxvision.explain.scores import Score, in_batches
from jaxvision.types import Array


def occlusion(
    score: Score,
    image: Array,
    fill: Array | float,
    *,
    window: int,
    stride: int,
    batch_size: int = 32,
) -> Array:
    """How much the score falls where a square covers each pixel, [H,W].

    The squares lie `stride` apart and reach to all borders; where several cover a pixel
    it gets the mean of their falls.

    Args:
      image: [H,W,C].
      fill: what the square shows, broadcast to the image.
      window: the side of the square, in pixels.
      stride: at most the window, so that every pixel is covered.
      batch_size: covered images that are computed together.
    """
    height, width, _ = image.shape
    check(
        (
            1 <= window <= min(height, width),
            f"the window must be between 1 and the {min(height, width)} pixels of the "
            f"image's shorter side, got {window}",
        ),
        (
            1 <= stride <= window,
            f"the stride must be between 1 and the window of {window}, got {stride}",
        ),
    )
    rows, columns = _windows(height, window, stride), _windows(width, window, stride)
    hidden = jnp.broadcast_to(jnp.asarray(fill, image.dtype), image.shape)
    places = np.indices((len(rows), len(columns))).reshape(2, -1).T
    on_rows, on_columns = jnp.asarray(rows), jnp.asarray(columns)

    def covered(places: Array) -> Array:
        inside = on_rows[places[:, 0], :, None] & on_columns[places[:, 1], None, :]
        return score(jnp.where(inside[..., None], hidden[None], image[None]))

    seen = in_batches(covered, jnp.asarray(places), batch_size)
    falls = (score(image[None]) - seen).reshape(len(rows), len(columns))
    weights = on_rows.astype(falls.dtype), on_columns.astype(falls.dtype)
    total = jnp.einsum("rs,rh,sw->hw", falls, *weights, precision="highest")
    count = weights[0].sum(0)[:, None] * weights[1].sum(0)[None]
    return total / count


def _windows(length: int, window: int, stride: int) -> np.ndarray:
    """bool [N,length]: which pixels along an axis each of the windows covers."""
    starts = {*range(0, length - window + 1, stride), length - window}
    pixels = np.arange(length)
    first = np.array(sorted(starts))[:, None]
    return (pixels >= first) & (pixels < first + window)
