"""Path aggregation: coarse maps help fine ones, and then fine ones help coarse ones.

Liu et al. 2018, PANet, https://arxiv.org/abs/1803.01534, figure 1, in the form of YOLOX
(Ge et al. 2021, https://arxiv.org/abs/2107.08430): maps are joined and not added, and
cross-stage blocks mix what was joined.
"""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.layers.cross_stage import Unit
from jaxvision.ops.upsample import upsample

Array = jax.Array


def path_aggregation(
    maps: Sequence[Array],
    channels: Sequence[int],
    *,
    unit: Unit,
    spatial: Unit,
    mix: Callable[..., nn.Module],
) -> list[Array]:
    """Three maps [B,H/s,W/s,channels] of three, with the layer names of YOLOX.

    Args:
      maps: from the finest to the coarsest, each of half the size of the one before,
        rounded up.
      channels: of each result.
      unit: see `layers.cross_stage`; here 1×1.
      spatial: a 3×3 unit with strides, which makes a map coarser.
      mix: `(features, name=…) -> module`, for maps that were joined.
    """
    fine, middle, coarse = maps
    for_fine, for_middle, for_coarse = channels
    from_coarse = unit(for_middle, 1, name="lateral_conv0")(coarse)
    x = mix(for_middle, name="C3_p4")(_enlarged_beside(from_coarse, middle))
    from_middle = unit(for_fine, 1, name="reduce_conv1")(x)
    fine = mix(for_fine, name="C3_p3")(_enlarged_beside(from_middle, fine))
    x = spatial(for_fine, 3, strides=2, name="bu_conv2")(fine)
    middle = mix(for_middle, name="C3_n3")(_beside(x, from_middle))
    x = spatial(for_middle, 3, strides=2, name="bu_conv1")(middle)
    coarse = mix(for_coarse, name="C3_n4")(_beside(x, from_coarse))
    return [fine, middle, coarse]


def _enlarged_beside(coarse: Array, fine: Array) -> Array:
    height, width = fine.shape[1:3]
    return _beside(upsample(coarse)[:, :height, :width], fine)


def _beside(a: Array, b: Array) -> Array:
    return jnp.concatenate([a, b], axis=-1)
