"""The weight gradient by oneDNN, in programs that may call it (`jaxvision.onednn`).

XLA hands oneDNN every convolution of NHWC images, in groups or not, unless its padding
is negative or its images are dilated; inside of loops as well.  It has no gradients.
That with respect to the images is such a convolution in `plain`; that with respect to
the kernel is written as one here:

    dkernel[u,v,c,o] = Σ_b Σ_ij x[b, s·i + u, s·j + v, c] · dy[b,i,j,o]

What a convolution sums over are positions of its kernel and channels.  So dy is the
kernel, whose positions are i and j, and the images b are the channels.
"""

import math
from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax

from jaxvision.ops.convolution.cpu import plain
from jaxvision.ops.convolution.cpu.slices import images_per_device
from jaxvision.ops.convolution.geometry import NO_PADS, Geometry, Two, pad
from jaxvision.types import Array


def weight_gradient(
    x_BxHxWxC: Array,
    dy_BxhxwxO: Array,
    kernel_size: Sequence[int],
    geometry: Geometry,
) -> Array:
    """[K,K,C/groups,O].

    Groups are taken in blocks of 16 channels or more.  Inside a block the gradient is
    computed for all pairs of an input group and an output group, of which only those
    of a group with itself are read: wide products are worth that.
    """
    groups = geometry.groups
    single = geometry._replace(groups=1)
    if groups == 1:
        return _dense(x_BxHxWxC, dy_BxhxwxO, kernel_size, single)
    in_channels, out_channels = (a.shape[3] // groups for a in (x_BxHxWxC, dy_BxhxwxO))
    joined = math.gcd(groups, max(1, 16 // in_channels))
    blocks = groups // joined
    pairs = jnp.stack(
        [
            _dense(x, dy, kernel_size, single)
            for x, dy in zip(
                jnp.split(x_BxHxWxC, blocks, 3),
                jnp.split(dy_BxhxwxO, blocks, 3),
                strict=True,
            )
        ]
    )
    pairs = pairs.reshape(
        blocks, *kernel_size, joined, in_channels, joined, out_channels
    )
    dkernel = jnp.einsum("buvjcjo->uvcbjo", pairs)
    return dkernel.reshape(*kernel_size, in_channels, groups * out_channels)


def _dense(x_BxHxWxC, dy_BxhxwxO, kernel_size, geometry):
    """With the columns and the channels of the images joined into one axis.

    Only the images have to move in memory then.  On the joined axis pixel j of channel
    c is number j·C + c.  dy, dilated by s·C there, steps by whole strides, while the
    output steps by single numbers: number v·C + c of the output is
    Σ_j x[s·j + v, c] · dy[j], the gradient of tap v for channel c.

    With all images as channels two spatial axes would do.  But 16 at a time are a tenth
    faster, so the rest of them are a third spatial axis, over which a convolution sums
    as well.  The batch of the convolution is 1, or 2 for the halves of few channels.
    """
    batch, _, _, channels = x_BxHxWxC.shape
    out_channels = dy_BxhxwxO.shape[3]
    strides, pads, dilation, _ = geometry
    if tuple(kernel_size) == (1, 1) and strides == (1, 1) and pads == NO_PADS:
        # In this order dy is transposed, which is mostly the smaller of the two.
        dy_Oxn = dy_BxhxwxO.reshape(-1, out_channels).T
        product_OxC = dy_Oxn @ x_BxHxWxC.reshape(-1, channels)
        return product_OxC.T.reshape(1, 1, channels, out_channels)
    if dilation != (1, 1):
        return plain.weight_gradient(x_BxHxWxC, dy_BxhxwxO, kernel_size, geometry)

    x, rows, columns = _cropped(x_BxHxWxC, dy_BxhxwxO, kernel_size, geometry)
    # Slices vary faster than channels, so that each device keeps its part of the batch.
    slices = math.gcd(images_per_device(batch), max(1, batch // 16))
    # oneDNN divides the output among the cores by rows, and rows of 96 numbers or more
    # once again: of three shorter rows one of two cores would compute two.
    row = kernel_size[1] * channels
    halved = kernel_size[0] <= 3 and 48 <= row < 96 and channels % 2 == 0
    parts = 2 if halved else 1
    of_part = channels // parts
    height, width = x.shape[1:3]
    images = x.reshape(-1, slices, height, width, parts, of_part)
    images = images.transpose(4, 1, 2, 3, 5, 0)
    dkernel = lax.conv_general_dilated(
        images.reshape(parts, slices, height, width * of_part, -1),
        dy_BxhxwxO.reshape(-1, slices, *dy_BxhxwxO.shape[1:]),
        (1, 1, 1),
        ((0, 0), rows, (columns[0] * of_part, columns[1] * of_part)),
        rhs_dilation=(1, strides[0], strides[1] * of_part),
        # oneDNN reorders kernels itself, so dy need not be transposed.
        dimension_numbers=("NDHWC", "IDHWO", "NDHWC"),
    )
    dkernel = dkernel.reshape(parts, *kernel_size, of_part, out_channels)
    dkernel = jnp.moveaxis(dkernel, 0, 2)
    return dkernel.reshape(*kernel_size, channels, out_channels)


def _cropped(
    x_BxHxWxC: Array,
    dy_BxhxwxO: Array,
    kernel_size: Sequence[int],
    geometry: Geometry,
) -> tuple[Array, Two, Two]:
    """The images without pixels that no window reaches, and what padding is left."""
    pads = plain.weight_gradient_pads(
        x_BxHxWxC.shape[1:3], dy_BxhxwxO.shape[1:3], kernel_size, geometry
    )
    (top, bottom), (left, right) = [(min(a, 0), min(b, 0)) for a, b in pads]
    x = pad(x_BxHxWxC, ((top, bottom), (left, right)))
    rows, columns = [(max(a, 0), max(b, 0)) for a, b in pads]
    return x, rows, columns
