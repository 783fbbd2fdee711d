"""Attention.  Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.2

Shapes: B batch (or windows), N tokens, D features, h heads.
"""

import jax

from jaxvision.ops.precision import at_least_float32

Array = jax.Array


def split_heads(qkv_BxNx3D: Array, heads: int) -> tuple[Array, Array, Array]:
    """Queries, keys and values, each [B,N,h,D/h]."""
    batch, tokens, features = qkv_BxNx3D.shape
    cut = qkv_BxNx3D.reshape(batch, tokens, 3, heads, features // (3 * heads))
    return cut[:, :, 0], cut[:, :, 1], cut[:, :, 2]


def attend(
    q_BxNxhxE: Array,
    k_BxNxhxE: Array,
    v_BxNxhxE: Array,
    *,
    bias: Array | None = None,
    scale: float | None = None,
) -> Array:
    """softmax(scale · q kᵀ + bias) v of each head, concatenated: [B,N,D].

    `bias` is [B or 1,h,N,N]; `scale` is 1/√E by default.
    """
    if bias is not None:
        bias = bias.astype(at_least_float32(bias.dtype))
    # It widens narrow types itself, also where its caller has forbidden that.
    with jax.numpy_dtype_promotion("standard"):
        y = jax.nn.dot_product_attention(
            q_BxNxhxE, k_BxNxhxE, v_BxNxhxE, bias=bias, scale=scale
        )
    return y.reshape(*y.shape[:2], -1)
