"""Convolution by oneDNN, in programs that may call it (`jaxvision.onednn`).

XLA hands it every convolution without negative padding and without gaps between the
pixels, in groups or not, inside of loops as well.  It has no gradients, so the one by
the kernel is written here as a convolution of that kind; `plain` has the one by images.
"""

import math
from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax

from jaxvision.ops.convolution import plain, shifted
from jaxvision.ops.convolution.geometry import Pads, Two, pad
from jaxvision.ops.convolution.slices import share_of_device
from jaxvision.types import Array


def weight_gradient(
    x_BxHxWxC: Array,
    dy_BxhxwxO: Array,
    groups: int,
    reach: Sequence[int],
    strides: Two,
    pads: Pads,
    dilation: Two,
) -> Array:
    """The convolution of the images with dy as the kernel, [K,K,C/groups,O]."""
    channels, made = x_BxHxWxC.shape[3], dy_BxhxwxO.shape[3]
    taken = channels // groups
    if groups == 1:
        return _dense(x_BxHxWxC, dy_BxhxwxO, reach, strides, pads, dilation)
    if taken > 1:
        return _in_blocks(x_BxHxWxC, dy_BxhxwxO, groups, reach, strides, pads, dilation)
    # Gaps between the pixels of dy cost less than they would in `shifted`, unless four
    # images fit into the cache.
    small = math.prod(x_BxHxWxC.shape[1:]) <= 2**17
    if made > channels or dilation != (1, 1) or (strides != (1, 1) and small):
        slide = (strides, pads, dilation)
        return shifted.weight_gradient(x_BxHxWxC, dy_BxhxwxO, groups, reach, *slide)
    return _depthwise(x_BxHxWxC, dy_BxhxwxO, reach, strides, pads)


def _dense(x_BxHxWxC, dy_BxhxwxO, reach, strides, pads, dilation):
    """Columns and channels of the images as one axis, images as channels.

    Along that axis dy steps by whole pixels and the output by single channels, so that
    its K·C places are columns and channels of the kernel.  All images as channels would
    need no third axis for the rest of them, but 16 at a time are a tenth faster.  The
    batch is one image, or two for the halves of few channels.
    """
    batch, _, _, channels = x_BxHxWxC.shape
    made = dy_BxhxwxO.shape[3]
    if tuple(reach) == (1, 1) and strides == (1, 1) and pads == ((0, 0), (0, 0)):
        # In this order it is dy, mostly the smaller, that is transposed.
        product_OxC = dy_BxhxwxO.reshape(-1, made).T @ x_BxHxWxC.reshape(-1, channels)
        return product_OxC.T.reshape(1, 1, channels, made)
    if dilation != (1, 1):
        slide = (strides, pads, dilation)
        return plain.weight_gradient(x_BxHxWxC, dy_BxhxwxO, reach, *slide)

    x, rows, columns = _cropped(x_BxHxWxC, dy_BxhxwxO, reach, strides, pads)
    # What a device holds of the batch stays there: slices vary faster than channels.
    slices = math.gcd(share_of_device(batch), max(1, batch // 16))
    # oneDNN divides the output among cores by rows, and rows of 96 places or more once
    # again: of three short rows one core would compute two.
    columns_out = reach[1] * channels
    halved = reach[0] <= 3 and 48 <= columns_out < 96 and channels % 2 == 0
    parts = 2 if halved else 1
    taken = channels // parts
    height, width = x.shape[1:3]
    images = x.reshape(-1, slices, height, width, parts, taken)
    images = images.transpose(4, 1, 2, 3, 5, 0)
    dkernel = lax.conv_general_dilated(
        images.reshape(parts, slices, height, width * taken, -1),
        dy_BxhxwxO.reshape(-1, slices, *dy_BxhxwxO.shape[1:]),
        (1, 1, 1),
        ((0, 0), rows, (columns[0] * taken, columns[1] * taken)),
        rhs_dilation=(1, strides[0], strides[1] * taken),
        # oneDNN puts the kernel in an order of its own, from any.
        dimension_numbers=("NDHWC", "IDHWO", "NDHWC"),
    )
    dkernel = jnp.moveaxis(dkernel.reshape(parts, *reach, taken, made), 0, 2)
    return dkernel.reshape(*reach, channels, made)


def _in_blocks(x_BxHxWxC, dy_BxhxwxO, groups, reach, strides, pads, dilation):
    """Groups side by side in blocks of 16 channels or more, each block by itself.

    Inside a block the gradient is computed for all pairs of groups; most are not read.
    """
    taken, made = x_BxHxWxC.shape[3] // groups, dy_BxhxwxO.shape[3] // groups
    joined = math.gcd(groups, max(1, 16 // taken))
    blocks = groups // joined
    pairs = jnp.stack(
        [
            _dense(x, dy, reach, strides, pads, dilation)
            for x, dy in zip(
                jnp.split(x_BxHxWxC, blocks, 3),
                jnp.split(dy_BxhxwxO, blocks, 3),
                strict=True,
            )
        ]
    )
    pairs = pairs.reshape(blocks, *reach, joined, taken, joined, made)
    dkernel = jnp.einsum("buvjcjo->uvcbjo", pairs)
    return dkernel.reshape(*reach, taken, groups * made)


def _depthwise(x_BxHxWxC, dy_BxhxwxC, reach, strides, pads):
    """Images as the third axis."""
    channels = x_BxHxWxC.shape[3]
    x, rows, columns = _cropped(x_BxHxWxC, dy_BxhxwxC, reach, strides, pads)
    # oneDNN is slow at kernels with gaps, not with zeros.
    dy = lax.optimization_barrier(plain.spread(dy_BxhxwxC, strides))
    dkernel = lax.conv_general_dilated(
        x[None],
        dy[:, :, :, None],
        (1, 1, 1),
        ((0, 0), rows, columns),
        feature_group_count=channels,
        dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
    )
    return dkernel.reshape(*reach, 1, channels)


def _cropped(x_BxHxWxC, dy_BxhxwxO, reach, strides, pads):
    """The images without what no tap meets, and the padding of rows and columns."""
    size, outputs = x_BxHxWxC.shape[1:3], dy_BxhxwxO.shape[1:3]
    around = plain.pads_by_kernel(size, outputs, reach, strides, pads)
    (top, bottom), (left, right) = [(min(a, 0), min(b, 0)) for a, b in around]
    x = pad(x_BxHxWxC, ((top, bottom), (left, right)))
    rows, columns = [(max(a, 0), max(b, 0)) for a, b in around]
    return x, rows, columns
