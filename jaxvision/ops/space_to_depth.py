"""Four pixels as one with four times the channels."""

import jax
import jax.numpy as jnp

Array = jax.Array


def space_to_depth(images_BxHxWxC: Array) -> Array:
    """[B,H,W,C] -> [B,⌈H/2⌉,⌈W/2⌉,4C], zeros added at the end where a side is odd.

    The channels are those of the pixels at the top left, the bottom left, the top right
    and the bottom right of each square, in this order, as networks of PyTorch have it
    (the patch merging of Swin, the focus of YOLO).
    """
    _, height, width, _ = images_BxHxWxC.shape
    border = ((0, 0), (0, height % 2), (0, width % 2), (0, 0))
    x = jnp.pad(images_BxHxWxC, border)
    return jnp.concatenate([x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)], -1)
